//! Why a request about a transaction is refused; each has one Kafka error code.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TransactionError {
    #[error("the coordinator is still loading its transactions")]
    CoordinatorLoadInProgress,
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    #[error("the request is not valid")]
    InvalidRequest,
    #[error("the producer's epoch is older than the newest one")]
    InvalidProducerEpoch,
    #[error("the transaction is not in a state that allows this")]
    InvalidTxnState,
    #[error("the producer id is not the one of the transactional id")]
    InvalidProducerIdMapping,
    #[error("the timeout is not between 1 and transaction.max.timeout.ms")]
    InvalidTransactionTimeout,
    #[error("the transactional id is in the middle of another step; the request may be retried")]
    ConcurrentTransactions,
    #[error("a newer producer has taken over the transactional id")]
    ProducerFenced,
    #[error("nobody has used the transactional id")]
    TransactionalIdNotFound,
    #[error("the partition is not in the transaction; only an abort is left")]
    TransactionAbortable,
}

impl TransactionError {
    /// Kafka's error code.
    pub fn code(self) -> i16 {
        match self {
            TransactionError::CoordinatorLoadInProgress => 14,
            TransactionError::CoordinatorNotAvailable => 15,
            TransactionError::InvalidRequest => 42,
            TransactionError::InvalidProducerEpoch => 47,
            TransactionError::InvalidTxnState => 48,
            TransactionError::InvalidProducerIdMapping => 49,
            TransactionError::InvalidTransactionTimeout => 50,
            TransactionError::ConcurrentTransactions => 51,
            TransactionError::ProducerFenced => 90,
            TransactionError::TransactionalIdNotFound => 105,
            TransactionError::TransactionAbortable => 120,
        }
    }

    /// What a partition says where the coordinator says that the producer is fenced: producers know that one from
    /// Produce and TxnOffsetCommit, and from the transaction APIs before KIP-588.
    pub fn at_partition(self) -> TransactionError {
        match self {
            TransactionError::ProducerFenced => TransactionError::InvalidProducerEpoch,
            other => other,
        }
    }
}
