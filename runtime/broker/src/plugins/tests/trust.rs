//! Signed plugins, from the push to the chain.

use bytes::Bytes;
use tidegate_plugin::{Digest, PrivateKey, SignedBy};

use super::super::Offered;
use super::*;
use crate::plugins::testbed::filter;

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_seed(&[number; 32])
}

fn trusting(numbers: &[u8]) -> ServerConfig {
    ServerConfig {
        trusted_keys: numbers.iter().map(|number| key(*number).public()).collect(),
        ..config()
    }
}

fn signed(by: u8, name: &str, version: &str, wasm: &[u8]) -> Offered {
    use sha2::Digest as _;
    let digest = Digest(sha2::Sha256::digest(wasm).into());
    let SignedBy { key, signature } = key(by).sign(name, version, digest);
    Offered {
        signature: Some(signature),
        key: Some(key),
    }
}

async fn upload(
    broker: &Arc<Broker>,
    name: &str,
    wasm: Vec<u8>,
    offered: Offered,
) -> Result<(), UploadError> {
    let wasm = Bytes::from(wasm);
    broker
        .plugins
        .upload_signed(broker, name, "1", wasm, offered)
        .await
        .map(drop)
}

fn unavailable(broker: &Broker, topic: &str) -> String {
    match chains(broker, topic).produce {
        ChainSlot::Unavailable(why) => why,
        ChainSlot::None => panic!("no chain"),
        ChainSlot::Ready(_) => panic!("the chain runs"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_before_anything_is_compiled() {
    let broker = start(trusting(&[1]), &Disks::default()).await;
    for offered in [
        Offered::default(),
        signed(2, "f", "1", &filter()),
        signed(1, "f", "2", &filter()),
    ] {
        let refused = upload(&broker, "f", filter(), offered).await.unwrap_err();
        assert!(matches!(refused, UploadError::Untrusted(_)), "{refused}");
    }
    assert_eq!(broker.plugins.engine().compilations(), 0);
    assert!(broker.image().plugins.is_empty());
    upload(&broker, "f", filter(), signed(1, "f", "1", &filter()))
        .await
        .unwrap();
    change(&broker, create("t", &[(PRODUCE, "f")]))
        .await
        .unwrap();
    assert!(produce_ready(&broker, "t"));
    // A declaration in the configuration file comes at each start, perhaps without its signature.
    upload(&broker, "f", filter(), Offered::default())
        .await
        .unwrap();
    let image = broker.image();
    let stored = image.plugin_signature("f", "1").unwrap();
    assert_eq!(stored.key, key(1).public().to_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_without_a_signature_does_not_run_until_it_has_one() {
    let disks = Disks::default();
    let before = start(config(), &disks).await;
    push(&before, "f", "1", &filter()).await;
    change(&before, create("t", &[(PRODUCE, "f")]))
        .await
        .unwrap();
    assert!(produce_ready(&before, "t"));
    before.log.close();
    drop(before);

    let broker = start(trusting(&[1]), &disks).await;
    let why = unavailable(&broker, "t");
    assert!(
        why.contains("not signed") && why.contains("--sign-key"),
        "{why}"
    );
    assert_eq!(broker.plugins.engine().compilations(), 0);
    let why = change(&broker, create("u", &[(PRODUCE, "f")]))
        .await
        .unwrap_err();
    assert!(why.contains("not signed"), "{why}");
    let row = broker.image().plugins["f"].versions["1"].digest;
    let shown = broker.plugins.load(&broker, "f", "1", row).await;
    assert!(shown.unwrap_err().contains("not signed"));

    // The same bytes with a signature are the same version.
    upload(&broker, "f", filter(), signed(1, "f", "1", &filter()))
        .await
        .unwrap();
    eventually("the chain's readiness", || produce_ready(&broker, "t")).await;
    let image = broker.image();
    assert_eq!(image.plugins["f"].versions.len(), 1);
    drop(image);
    broker.log.close();
    drop(broker);

    // A key that is withdrawn takes what it signed with it.
    let broker = start(trusting(&[2]), &disks).await;
    let why = unavailable(&broker, "t");
    assert!(why.contains("not one of"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_moves_the_latest_to_a_version_without_a_signature() {
    let disks = Disks::default();
    let before = start(config(), &disks).await;
    push(&before, "f", "0", &filter()).await;
    before.log.close();
    drop(before);
    let broker = start(trusting(&[1]), &disks).await;
    upload(&broker, "f", filter(), signed(1, "f", "1", &filter()))
        .await
        .unwrap();
    change(&broker, create("t", &[(PRODUCE, "f")]))
        .await
        .unwrap();
    // The same bytes under another version: what was signed is a version.
    let why = broker.plugins.rollback(&broker, "f", Some("0")).await;
    let why = why.unwrap_err().to_string();
    assert!(why.contains("not signed"), "{why}");
    let why = change(&broker, create("u", &[(PRODUCE, "f@0")]))
        .await
        .unwrap_err();
    assert!(why.contains("not signed"), "{why}");
    assert_eq!(broker.image().plugins["f"].latest, "1");
    assert!(produce_ready(&broker, "t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_goes_with_its_version() {
    let broker = broker().await;
    upload(&broker, "f", filter(), signed(1, "f", "1", &filter()))
        .await
        .unwrap();
    assert!(broker.image().plugin_signature("f", "1").is_some());
    broker.plugins.remove(&broker, "f", None).await.unwrap();
    assert!(broker.image().plugin_signature("f", "1").is_none());
    push(&broker, "f", "1", &filter()).await;
    assert!(broker.image().plugin_signature("f", "1").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_plugins_bring_their_signature_file() {
    let directory = tempfile::tempdir().unwrap();
    let (wasm, sig) = (
        directory.path().join("f.wasm"),
        directory.path().join("f.sig"),
    );
    std::fs::write(&wasm, filter()).unwrap();
    let file = PluginFile {
        name: "f".into(),
        version: "1".into(),
        path: wasm,
        signature: None,
    };
    let mut config = trusting(&[1]);
    config.plugins = vec![file.clone()];
    let broker = start(config.clone(), &Disks::default()).await;
    let why = broker
        .plugins
        .apply_declarations(&broker)
        .await
        .unwrap_err();
    assert!(why.contains("not signed"), "{why}");

    let offered = signed(1, "f", "1", &filter());
    let line = SignedBy {
        key: offered.key.unwrap(),
        signature: offered.signature.unwrap(),
    };
    std::fs::write(&sig, line.to_string()).unwrap();
    config.plugins[0].signature = Some(sig.clone());
    let broker = start(config.clone(), &Disks::default()).await;
    broker.plugins.apply_declarations(&broker).await.unwrap();
    std::fs::write(&sig, "hello").unwrap();
    let why = broker
        .plugins
        .apply_declarations(&broker)
        .await
        .unwrap_err();
    assert!(
        why.contains("f.sig") && why.contains("plugin sign"),
        "{why}"
    );
}
