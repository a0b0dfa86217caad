//! Asks transaction coordinators on behalf of partitions whose batches wait for them (KIP-890).
//!
//! Up to Produce 11 a client has added its partitions to the transaction itself, and the coordinator is asked whether that
//! is so; from version 12 on (transaction.version 2) the produce adds them. Either way a batch enters the log only if its
//! coordinator will end the transaction in that partition too, so none can hang.

use std::sync::Arc;

use tidegate_coordinator::TransactionError;
use tidegate_protocol::error::ErrorCode;
use tidegate_record::BatchHeader;

use crate::broker::Broker;
use crate::partition::{Partition, ProduceFailure};

/// First version of Produce that knows TRANSACTION_ABORTABLE.
const ABORTABLE: i16 = 11;
/// First version of Produce that adds partitions to the transaction.
const ADDS_PARTITIONS: i16 = 12;

/// The questions that one request leaves behind.
#[derive(Default)]
pub(crate) struct Questions {
    open: Vec<Question>,
}

struct Question {
    partition: Arc<Partition>,
    topic: String,
    producer_id: i64,
    epoch: i16,
}

impl Questions {
    /// After a batch was handed to its partition: remembers what that needs to know.
    pub(crate) fn collect(
        &mut self,
        topic: &str,
        partition: &Arc<Partition>,
        header: &BatchHeader,
    ) {
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        if header.attributes.is_transactional() && partition.asks(producer_id, epoch) {
            self.open.push(Question {
                partition: partition.clone(),
                topic: topic.to_owned(),
                producer_id,
                epoch,
            });
        }
    }

    /// Asks them all, beside the request: its client may go away, but what it has sent waits for an answer.
    pub(crate) fn ask(self, broker: &Arc<Broker>, version: i16, transactional_id: &str) {
        if self.open.is_empty() {
            return;
        }
        let (broker, transactional_id) = (broker.clone(), transactional_id.to_owned());
        tokio::spawn(async move {
            match version >= ADDS_PARTITIONS {
                true => self.add(&broker, version, &transactional_id).await,
                false => self.verify(&broker, version, &transactional_id).await,
            }
        });
    }

    /// One request for all partitions: the coordinator's answer is a write of its own.
    async fn add(self, broker: &Arc<Broker>, version: i16, transactional_id: &str) {
        let mut open = self.open;
        while let Some(first) = open.first() {
            let producer = (first.producer_id, first.epoch);
            let (own, others) = open
                .into_iter()
                .partition::<Vec<_>, _>(|q| (q.producer_id, q.epoch) == producer);
            open = others;
            let partitions: Vec<_> = own.iter().map(Question::place).collect();
            let word = broker
                .transactions
                .add_partitions(
                    broker,
                    transactional_id,
                    producer.0,
                    producer.1,
                    &partitions,
                )
                .await;
            for question in own {
                question.answer(word, version);
            }
        }
    }

    /// One at a time: a partition that is not in the transaction does not speak for the others.
    async fn verify(self, broker: &Arc<Broker>, version: i16, transactional_id: &str) {
        for question in self.open {
            let (producer_id, epoch) = (question.producer_id, question.epoch);
            let place = [question.place()];
            let word = broker
                .transactions
                .verify(broker, transactional_id, producer_id, epoch, &place)
                .await;
            question.answer(word, version);
        }
    }
}

impl Question {
    fn place(&self) -> (String, i32) {
        (self.topic.clone(), self.partition.index)
    }

    fn answer(self, word: Result<(), TransactionError>, version: i16) {
        let word = word.map_err(|error| failure(error, version));
        self.partition.confirm(self.producer_id, self.epoch, word);
    }
}

/// As a Produce response says it: what may pass by itself is retriable, and older clients do not know newer codes.
fn failure(error: TransactionError, version: i16) -> ProduceFailure {
    let code = match error.at_partition() {
        TransactionError::ConcurrentTransactions if version >= ADDS_PARTITIONS => {
            ErrorCode::ConcurrentTransactions
        }
        TransactionError::ConcurrentTransactions
        | TransactionError::CoordinatorLoadInProgress
        | TransactionError::CoordinatorNotAvailable => ErrorCode::NotEnoughReplicas,
        TransactionError::TransactionAbortable if version < ABORTABLE => ErrorCode::InvalidTxnState,
        other => ErrorCode::try_from_code(other.code()).unwrap_or(ErrorCode::UnknownServerError),
    };
    ProduceFailure::new(code, error.to_string())
}
