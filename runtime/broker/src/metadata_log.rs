//! Cluster metadata: commands in a synced log, behind the trait that a quorum will implement.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tidegate_metadata::{
    CodecError, Command, Image, Outcome, Refusal, apply, decode_command, decode_image,
    encode_command, encode_image,
};
use tidegate_storage::{CommandLog, StoreError};
use tokio::sync::Mutex;

/// Commands between two snapshots of the image.
const SNAPSHOT_EVERY: u64 = 1_000;

type ChangeHook = Box<dyn Fn(&Image) + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProposeError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the metadata log cannot be written: {0}")]
    Store(#[from] StoreError),
    #[error("the command cannot be written down: {0}")]
    Encode(#[from] CodecError),
    #[error("the broker is shutting down")]
    Closing,
}

/// Where commands become the cluster's state.
///
/// Promises: commands are applied in one order everywhere; `propose` returns after the command is durable, applied,
/// and acted upon by this broker (a created topic can be produced to); a refused command leaves no trace.
pub(crate) trait MetadataLog: Send + Sync {
    fn image(&self) -> Arc<Image>;

    fn propose(
        &self,
        command: Command,
    ) -> Pin<Box<dyn Future<Output = Result<Outcome, ProposeError>> + Send + '_>>;
}

/// The metadata log of a broker that is its own quorum.
pub(crate) struct LocalMetadata {
    shared: Arc<Shared>,
    /// One command at a time; held across the write, so that the log and the image agree.
    order: Mutex<()>,
}

struct Shared {
    log: Box<dyn CommandLog>,
    image: ArcSwap<Image>,
    on_change: OnceLock<ChangeHook>,
}

impl LocalMetadata {
    /// Replays the log. Blocks on the disk.
    pub(crate) fn open(log: Box<dyn CommandLog>) -> Result<LocalMetadata, StoreError> {
        let image = LocalMetadata::read(log.as_ref())?;
        let shared = Shared {
            log,
            image: ArcSwap::from_pointee(image),
            on_change: OnceLock::new(),
        };
        Ok(LocalMetadata {
            shared: Arc::new(shared),
            order: Mutex::new(()),
        })
    }

    /// What the commands of a log come to.
    pub(crate) fn read(log: &dyn CommandLog) -> Result<Image, StoreError> {
        let corrupt = |error: &dyn std::fmt::Display| StoreError::Corrupt(error.to_string());
        let (from, mut image) = match log.load_snapshot()? {
            Some((index, bytes)) => (
                index + 1,
                decode_image(&bytes).map_err(|error| corrupt(&error))?,
            ),
            None => (0, Image::default()),
        };
        log.replay(from, &mut |_, bytes| {
            let command = decode_command(bytes).map_err(|error| corrupt(&error))?;
            image = apply(&image, &command).map_err(|error| corrupt(&error))?.0;
            Ok(())
        })?;
        Ok(image)
    }

    /// Called on a blocking thread after every change, before the proposer hears of it. Set once.
    pub(crate) fn on_change(&self, hook: ChangeHook) {
        if self.shared.on_change.set(hook).is_err() {
            tracing::error!("the metadata change hook was set twice; the first one stays");
        }
    }
}

impl MetadataLog for LocalMetadata {
    fn image(&self) -> Arc<Image> {
        self.shared.image.load_full()
    }

    fn propose(
        &self,
        command: Command,
    ) -> Pin<Box<dyn Future<Output = Result<Outcome, ProposeError>> + Send + '_>> {
        Box::pin(async move {
            let _turn = self.order.lock().await;
            let shared = self.shared.clone();
            tokio::task::spawn_blocking(move || shared.commit(&command))
                .await
                .map_err(|_| ProposeError::Closing)?
        })
    }
}

impl Shared {
    fn commit(&self, command: &Command) -> Result<Outcome, ProposeError> {
        let (image, outcome) = apply(&self.image.load(), command)?;
        if outcome == Outcome::Unchanged {
            return Ok(outcome);
        }
        let index = self.log.append(&encode_command(command)?)?;
        self.image.store(Arc::new(image));
        let image = self.image.load_full();
        if index % SNAPSHOT_EVERY == SNAPSHOT_EVERY - 1 {
            // The log still holds everything, so a failed snapshot costs time at the next start and nothing else.
            if let Err(error) = self.snapshot(index, &image) {
                tracing::warn!(%error, "cannot write a metadata snapshot");
            }
        }
        if let Some(hook) = self.on_change.get() {
            hook(&image);
        }
        Ok(outcome)
    }

    fn snapshot(&self, index: u64, image: &Image) -> Result<(), ProposeError> {
        Ok(self.log.snapshot(index, &encode_image(image)?)?)
    }
}
