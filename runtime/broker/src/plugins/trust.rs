//! Whose plugins run here: `tidegate.plugins.trusted.keys`.
//!
//! Without keys everybody's do. With keys everything fails closed: an upload that none of them has signed is refused,
//! and what is stored already without a signature that verifies is not bound, so that the chains it stands in are
//! unavailable and nothing passes them unfiltered. Signatures are verified when they come and again at each load: what
//! lies on disk is believed no more than what comes over the wire.

use tidegate_metadata::PluginSignature;
use tidegate_plugin::{Digest, PublicKey, Signature};

use super::bindings::Stand;
use super::upload::UploadError;

/// What came with an upload to say who made it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offered {
    pub(crate) signature: Option<Signature>,
    /// By whom; without it the trusted keys are tried.
    pub(crate) key: Option<PublicKey>,
}

/// One version of a plugin, as it is signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) digest: [u8; 32],
}

pub(super) struct Trust {
    keys: Vec<PublicKey>,
}

impl Subject<'_> {
    fn signed_by(&self, key: &PublicKey, signature: &Signature) -> bool {
        key.verifies(signature, self.name, self.version, Digest(self.digest))
    }

    fn how_to_sign(&self) -> String {
        format!(
            "sign it with `tidegate plugin push FILE --name {} --version {} --sign-key KEYFILE`",
            self.name, self.version
        )
    }
}

impl Trust {
    pub(super) fn new(keys: Vec<PublicKey>) -> Trust {
        Trust { keys }
    }

    /// Whether an upload may come in, and the signature to keep. `stored` is what the version has already.
    pub(super) fn admit(
        &self,
        subject: Subject<'_>,
        offered: Offered,
        stored: Option<&PluginSignature>,
    ) -> Result<Option<PluginSignature>, UploadError> {
        let Some(signature) = offered.signature else {
            return match self.verify(subject, stored) {
                Ok(()) => Ok(stored.copied()),
                Err(why) => Err(UploadError::Untrusted(why)),
            };
        };
        if let Some(key) = offered.key.filter(|key| !self.trusts(key)) {
            return Err(UploadError::Untrusted(format!(
                "key {key} is not one of tidegate.plugins.trusted.keys of this broker"
            )));
        }
        let tried = offered.key.map_or(self.keys.clone(), |key| vec![key]);
        if tried.is_empty() {
            return Err(UploadError::Invalid(
                "a signature came without its key; send the key in x-tidegate-key".to_owned(),
            ));
        }
        match tried.iter().find(|key| subject.signed_by(key, &signature)) {
            Some(key) => Ok(Some(PluginSignature::new(
                key.to_bytes(),
                signature.to_bytes(),
            ))),
            None => Err(UploadError::Untrusted(format!(
                "the signature is not one of {} {} and these bytes by {}; a signature is for one name, one version \
                 and one file: {}",
                subject.name,
                subject.version,
                match tried.as_slice() {
                    [key] => format!("key {key}"),
                    _ => "any trusted key".to_owned(),
                },
                subject.how_to_sign()
            ))),
        }
    }

    /// Whether what stands in a chain may be loaded. The error is a sentence.
    pub(super) fn check(&self, stand: &Stand) -> Result<(), String> {
        let subject = Subject {
            name: &stand.entry.plugin.name,
            version: &stand.version,
            digest: stand.key.digest,
        };
        let signature = stand.key.signed.as_ref().map(|signed| &signed.signature);
        self.verify(subject, signature)
    }

    /// Whether a stored version may be loaded. The error is a sentence.
    pub(super) fn verify(
        &self,
        subject: Subject<'_>,
        stored: Option<&PluginSignature>,
    ) -> Result<(), String> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let Subject { name, version, .. } = subject;
        let Some(stored) = stored else {
            return Err(format!(
                "plugin `{name}` version {version} is not signed, and this broker runs only what a key of \
                 tidegate.plugins.trusted.keys has signed: {}",
                subject.how_to_sign()
            ));
        };
        let signature = Signature::from_bytes(stored.signature());
        match PublicKey::from_bytes(&stored.key) {
            Ok(key) if !self.trusts(&key) => Err(format!(
                "plugin `{name}` version {version} is signed by {key}, which is not one of \
                 tidegate.plugins.trusted.keys of this broker: {}",
                subject.how_to_sign()
            )),
            Ok(key) if subject.signed_by(&key, &signature) => Ok(()),
            _ => Err(format!(
                "the stored signature of plugin `{name}` version {version} is not right: {}",
                subject.how_to_sign()
            )),
        }
    }

    /// Without trusted keys a signature is kept for whoever looks, and any key will do.
    fn trusts(&self, key: &PublicKey) -> bool {
        self.keys.is_empty() || self.keys.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_plugin::{PrivateKey, SignedBy};

    use super::*;

    const SUBJECT: Subject<'_> = Subject {
        name: "n",
        version: "1",
        digest: [5; 32],
    };

    fn key(number: u8) -> PrivateKey {
        PrivateKey::from_seed(&[number; 32])
    }

    fn offered(by: u8, version: &str) -> Offered {
        let SignedBy { key, signature } = key(by).sign("n", version, Digest([5; 32]));
        Offered {
            signature: Some(signature),
            key: Some(key),
        }
    }

    fn trusting(numbers: &[u8]) -> Trust {
        Trust::new(numbers.iter().map(|number| key(*number).public()).collect())
    }

    fn untrusted(result: Result<Option<PluginSignature>, UploadError>) -> String {
        match result {
            Err(UploadError::Untrusted(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_keys_everything_runs_and_signatures_are_kept() {
        let trust = trusting(&[]);
        let none = trust.admit(SUBJECT, Offered::default(), None).unwrap();
        assert_eq!(none, None);
        let kept = trust.admit(SUBJECT, offered(1, "1"), None).unwrap();
        assert_eq!(kept.unwrap().key, key(1).public().to_bytes());
        // One that is wrong is refused even where none is asked for: somebody relies on it.
        untrusted(trust.admit(SUBJECT, offered(1, "2"), None));
        let keyless = Offered {
            key: None,
            ..offered(1, "1")
        };
        let refused = trust.admit(SUBJECT, keyless, None);
        assert!(matches!(refused, Err(UploadError::Invalid(_))));
    }

    #[test]
    fn with_keys_only_what_they_signed_comes_in() {
        let trust = trusting(&[1, 2]);
        let why = untrusted(trust.admit(SUBJECT, Offered::default(), None));
        assert!(why.contains("not signed") && why.contains("--sign-key"));
        let why = untrusted(trust.admit(SUBJECT, offered(3, "1"), None));
        assert!(why.contains("is not one of"));
        let why = untrusted(trust.admit(SUBJECT, offered(2, "2"), None));
        assert!(why.contains("one version"));
        let keyless = Offered {
            key: None,
            ..offered(2, "1")
        };
        let kept = trust.admit(SUBJECT, keyless, None).unwrap().unwrap();
        assert_eq!(kept.key, key(2).public().to_bytes());
        // The same bytes again, without the signature that is stored.
        let again = trust.admit(SUBJECT, Offered::default(), Some(&kept));
        assert_eq!(again.unwrap(), Some(kept));
    }

    #[test]
    fn what_is_stored_is_verified_again() {
        let kept = trusting(&[])
            .admit(SUBJECT, offered(1, "1"), None)
            .unwrap()
            .unwrap();
        assert_eq!(trusting(&[1]).verify(SUBJECT, Some(&kept)), Ok(()));
        let why = trusting(&[2]).verify(SUBJECT, Some(&kept)).unwrap_err();
        assert!(why.contains("not one of"), "{why}");
        let altered = PluginSignature { s: [0; 32], ..kept };
        let why = trusting(&[1]).verify(SUBJECT, Some(&altered)).unwrap_err();
        assert!(why.contains("not right"), "{why}");
        let other = Subject {
            digest: [6; 32],
            ..SUBJECT
        };
        assert!(trusting(&[1]).verify(other, Some(&kept)).is_err());
    }
}
