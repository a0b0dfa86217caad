//! One client connection: frames in, answers out, in order.
//!
//! A produce is admitted as soon as it is read and answered when its partitions have answered, so produces of one
//! connection overlap. Every other request is answered before the next one is read, as Kafka does it. A client over a quota
//! is answered too, and then not read from for a while.

use std::collections::HashMap;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tidegate_protocol::{Frame, PREFIX_LEN, check_len, parse_head};
use tidegate_record::{Offset, PartitionId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use crate::answer_memory::{AnswerMemory, Reserved};
use crate::api::{Refused, RequestContext, api_versions, produce};
use crate::broker::Broker;
use crate::dispatch;

/// Answers that may wait for the socket; a client that pipelines more waits to be read.
const MAX_UNANSWERED: usize = 64;
/// Largest frame of any API but Produce.
const MAX_SMALL_FRAME: usize = 1 << 20;
/// An answer above this is on the wire before the next request is read, so that a client that asks without reading
/// cannot pile answers up in the broker's memory.
const LARGE_ANSWER: usize = 64 << 10;
/// First reservation for a frame; it grows as bytes arrive, never by what a length claims.
const FIRST_READ: usize = 64 << 10;
/// Small answers that are ready together go out in one write. Every connection has such a buffer.
const WRITE_BUFFER: usize = 4 << 10;

/// A client that took nothing for so long stands still.
const STALLED: Duration = Duration::from_secs(10);

/// Parts handed to the socket in one call; Linux takes up to 1,024.
const MAX_PARTS: usize = 256;

const PRODUCE: i16 = 0;
const API_VERSIONS: i16 = 18;

/// Positions kept for the clients that cannot be told of a hole; beyond this many they scan from the hole's start.
const MAX_POSITIONS: usize = 10_000;

/// What handlers may know of the connection a request came by.
pub(crate) struct ConnectionContext {
    pub(crate) peer: SocketAddr,
    /// Where the scan for a fetch offset goes on, for clients in gap mode `cursor`.
    positions: Mutex<HashMap<(PartitionId, Offset), Offset>>,
}

impl ConnectionContext {
    pub(crate) fn position(&self, partition: PartitionId, fetch_offset: Offset) -> Offset {
        let positions = self
            .positions
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        positions
            .get(&(partition, fetch_offset))
            .copied()
            .unwrap_or(fetch_offset)
    }

    pub(crate) fn keep_position(&self, partition: PartitionId, fetch_offset: Offset, next: Offset) {
        let mut positions = self
            .positions
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if positions.len() >= MAX_POSITIONS {
            positions.clear();
        }
        positions.insert((partition, fetch_offset), next);
    }
}

type Pending = Pin<Box<dyn Future<Output = Result<Option<Frame>, Refused>> + Send>>;

struct Answer {
    response: Pending,
    written: Option<oneshot::Sender<()>>,
    /// The request's share of the memory budget, and the answer's, held until it is written.
    _memory: (OwnedSemaphorePermit, Option<Reserved>),
}

#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("the client closed the connection")]
    ByClient,
    #[error("the connection was idle for too long")]
    Idle,
    #[error("{0}")]
    Frame(#[from] tidegate_protocol::FrameError),
    #[error("a frame of {len} bytes is too large for API key {key}")]
    FrameTooLarge { key: i16, len: usize },
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the broker is shutting down")]
    Shutdown,
}

pub(crate) async fn serve(
    broker: Arc<Broker>,
    socket: TcpStream,
    peer: SocketAddr,
    mut shutdown: watch::Receiver<bool>,
) {
    // Small answers must not wait for the next one; a failure to say so costs latency only.
    drop(socket.set_nodelay(true));
    let (input, output) = socket.into_split();
    let (answers, queue) = mpsc::channel(MAX_UNANSWERED);
    let writer = tokio::spawn(write_answers(broker.clone(), output, queue));
    let mut reader = Reader {
        broker,
        input,
        answers,
        context: Arc::new(ConnectionContext {
            peer,
            positions: Mutex::default(),
        }),
        muted_until: None,
    };
    let closed = tokio::select! {
        closed = reader.run() => closed,
        _ = shutdown.wait_for(|stop| *stop) => Closed::Shutdown,
    };
    match &closed {
        Closed::ByClient | Closed::Idle | Closed::Shutdown => {
            tracing::debug!(%peer, reason = %closed, "connection closed");
        }
        Closed::Io(error) => tracing::debug!(%peer, %error, "connection lost"),
        // One line for each would let a client fill the disk that the log is on; the metrics count them.
        _ => tracing::debug!(%peer, reason = %closed, "connection closed by the broker"),
    }
    // What was admitted is still answered; the writer ends when the last answer is out.
    drop(reader);
    drop(writer.await);
}

struct Reader {
    broker: Arc<Broker>,
    input: OwnedReadHalf,
    answers: mpsc::Sender<Answer>,
    context: Arc<ConnectionContext>,
    muted_until: Option<tokio::time::Instant>,
}

impl Reader {
    async fn run(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.step().await {
                return closed;
            }
        }
    }

    async fn step(&mut self) -> Result<(), Closed> {
        let idle = Duration::from_millis(self.broker.config.connections_max_idle_ms);
        if let Some(muted_until) = self.muted_until.take() {
            tokio::time::sleep_until(muted_until).await;
        }
        let (frame, memory) = tokio::time::timeout(idle, self.read_frame())
            .await
            .map_err(|_| Closed::Idle)??;
        let (head, body) = parse_head(&frame).map_err(Refused::from)?;
        drop(frame);
        let started = Instant::now();
        self.broker.metrics.request(head.api_key, body.len());
        let (key, version) = (head.api_key, head.api_version);
        let context = RequestContext::new(head, self.context.clone());
        if key == PRODUCE {
            let (response, throttle) = produce::admit(&self.broker, context, body);
            self.mute(throttle);
            let metrics = self.broker.metrics.clone();
            let timed: Pending = Box::pin(async move {
                let response = response.await;
                metrics.answered(PRODUCE, started.elapsed());
                Ok(response?.map(Frame::from))
            });
            return self.push(timed, None, (memory, None)).await;
        }
        let mut reserved = None;
        let answer: Frame = if key == API_VERSIONS && !dispatch::serves(key, version) {
            api_versions::too_new(context.head.correlation_id)?.into()
        } else {
            let answered = dispatch::answer(self.broker.clone(), context, body).await?;
            self.mute(answered.throttle);
            reserved = answered.reserved;
            answered.frame
        };
        self.broker.metrics.answered(key, started.elapsed());
        let (written, wrote) = oneshot::channel();
        let wait = answer.size() > LARGE_ANSWER;
        let response: Pending = Box::pin(std::future::ready(Ok(Some(answer))));
        let memory = (memory, reserved);
        self.push(response, wait.then_some(written), memory).await?;
        if wait {
            wrote.await.map_err(|_| Closed::ByClient)?;
        }
        Ok(())
    }

    /// The answer goes out at once, and the next request is not read before this time is over: a client that waits for
    /// its answers must not take a quota for a broken broker (KIP-219).
    fn mute(&mut self, time: Duration) {
        if !time.is_zero() {
            self.muted_until = Some(tokio::time::Instant::now() + time);
        }
    }

    async fn push(
        &self,
        response: Pending,
        written: Option<oneshot::Sender<()>>,
        memory: (OwnedSemaphorePermit, Option<Reserved>),
    ) -> Result<(), Closed> {
        let answer = Answer {
            response,
            written,
            _memory: memory,
        };
        self.answers
            .send(answer)
            .await
            .map_err(|_| Closed::ByClient)
    }

    /// One frame, with its share of the memory budget.
    async fn read_frame(&mut self) -> Result<(Bytes, OwnedSemaphorePermit), Closed> {
        let mut prefix = [0; PREFIX_LEN];
        self.input
            .read_exact(&mut prefix)
            .await
            .map_err(end_of_input)?;
        let len = check_len(prefix, self.broker.config.socket_request_max_bytes)?;
        // The key before anything is reserved: connections that say no more cost nothing.
        let mut first = [0xff; 2];
        let first_len = len.min(first.len());
        self.input
            .read_exact(&mut first[..first_len])
            .await
            .map_err(end_of_input)?;
        let key = i16::from_be_bytes(first);
        if key != PRODUCE && len > MAX_SMALL_FRAME {
            return Err(Closed::FrameTooLarge { key, len });
        }
        let permits = u32::try_from(len).unwrap_or(u32::MAX);
        let memory = self
            .broker
            .request_memory
            .clone()
            .acquire_many_owned(permits)
            .await
            .map_err(|_| Closed::Shutdown)?;
        let mut buffer = BytesMut::with_capacity(len.min(FIRST_READ));
        buffer.extend_from_slice(&first[..first_len]);
        self.fill(&mut buffer, len).await?;
        Ok((buffer.freeze(), memory))
    }

    async fn fill(&mut self, buffer: &mut BytesMut, len: usize) -> Result<(), Closed> {
        while buffer.len() < len {
            let missing = (len - buffer.len()) as u64;
            if (&mut self.input).take(missing).read_buf(buffer).await? == 0 {
                return Err(Closed::ByClient);
            }
        }
        Ok(())
    }
}

fn end_of_input(error: std::io::Error) -> Closed {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Closed::ByClient,
        _ => Closed::Io(error),
    }
}

async fn write_answers(
    broker: Arc<Broker>,
    output: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Answer>,
) {
    let mut output = BufWriter::with_capacity(WRITE_BUFFER, output);
    let patience = Patience {
        most: Duration::from_millis(broker.config.connections_max_idle_ms),
        memory: broker.answer_memory.clone(),
    };
    while let Some(answer) = queue.recv().await {
        match answer.response.await {
            Ok(Some(frame)) => {
                broker.metrics.sent(frame.size());
                if write_frame(&mut output, &frame, &patience).await.is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(refused) => {
                tracing::debug!(reason = %refused, "connection closed by the broker");
                return;
            }
        }
        let flushes = queue.is_empty() || answer.written.is_some();
        if flushes && patience.with(output.flush()).await.is_err() {
            return;
        }
        if let Some(written) = answer.written {
            // A reader that stopped waiting is one that ended.
            written.send(()).ok();
        }
    }
    drop(output.shutdown().await);
}

/// A frame of several parts goes to the socket from where its parts are, as many at a time as the socket takes.
async fn write_frame(
    output: &mut BufWriter<OwnedWriteHalf>,
    frame: &Frame,
    patience: &Patience,
) -> io::Result<()> {
    if let [whole] = frame.parts()
        && whole.len() <= WRITE_BUFFER
    {
        return patience.with(output.write_all(whole)).await;
    }
    patience.with(output.flush()).await?;
    let mut parts: Vec<_> = frame.parts().iter().map(|p| IoSlice::new(p)).collect();
    let mut left = parts.as_mut_slice();
    while !left.is_empty() {
        let some = left.get(..MAX_PARTS).unwrap_or(left);
        let written = patience.with(output.get_mut().write_vectored(some)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}

/// How long a client may take nothing of what is written to it.
struct Patience {
    most: Duration,
    memory: Arc<AnswerMemory>,
}

impl Patience {
    /// A client that takes nothing is cut off with the memory that its answers hold: at once where others wait for memory.
    async fn with<T>(&self, write: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::pin!(write);
        let begun = Instant::now();
        loop {
            if let Ok(done) = tokio::time::timeout(STALLED, &mut write).await {
                return done;
            }
            if begun.elapsed() >= self.most || self.memory.was_short(STALLED) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}
