//! `tidegate plugin keygen` and `plugin sign`, and what `plugin push` sends of a signature.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use sha2::{Digest as _, Sha256};
use tidegate_plugin::{Digest, PrivateKey, SignedBy};

use crate::output::say;

/// Make a key to sign plugins with.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tidegate plugin keygen --out release.key

The public key is printed; brokers take it in tidegate.plugins.trusted.keys. The private key is PKCS#8
in PEM, readable by its owner only; `openssl genpkey -algorithm ed25519` makes the same.")]
pub(crate) struct KeygenArgs {
    /// Where the private key goes; a file that is there stays.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Sign a component as one version of one plugin.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tidegate plugin sign match.wasm --name match --version 0.1.0 --key release.key
  tidegate plugin push match.wasm --name match --version 0.1.0 --signature match.wasm.sig")]
pub(crate) struct SignArgs {
    /// The component, as `tidegate plugin build` writes it.
    file: PathBuf,
    /// The name that it will be pushed under.
    #[arg(long)]
    name: String,
    #[arg(long)]
    version: String,
    /// The private key, as `tidegate plugin keygen` writes it.
    #[arg(long, value_name = "KEYFILE")]
    key: PathBuf,
    /// Where the signature goes [default: FILE.sig].
    #[arg(long, value_name = "SIGFILE")]
    out: Option<PathBuf>,
}

/// How a push proves who made the plugin.
#[derive(Args, Debug)]
pub(crate) struct SignatureArgs {
    /// What `tidegate plugin sign` wrote for this file, name and version.
    #[arg(long, value_name = "SIGFILE", conflicts_with = "sign_key")]
    signature: Option<PathBuf>,
    /// Sign with this private key.
    #[arg(long, value_name = "KEYFILE")]
    sign_key: Option<PathBuf>,
}

impl SignatureArgs {
    /// The headers that carry the signature; none without one.
    pub(crate) fn headers(
        &self,
        name: &str,
        version: &str,
        component: &[u8],
    ) -> Result<Vec<(&'static str, String)>> {
        let signed = match (&self.sign_key, &self.signature) {
            (Some(path), _) => sign(path, name, version, component)?,
            (None, Some(path)) => {
                let signed: SignedBy = read(path)?
                    .parse()
                    .with_context(|| path.display().to_string())?;
                // Said here, where the file is at hand, and not only by the broker.
                if !signed
                    .key
                    .verifies(&signed.signature, name, version, digest(component))
                {
                    return Err(anyhow!(
                        "{} is not a signature of this file as {name} {version}; sign it with `tidegate plugin sign`",
                        path.display()
                    ));
                }
                signed
            }
            (None, None) => return Ok(Vec::new()),
        };
        Ok(vec![
            ("x-tidegate-signature", signed.signature.to_string()),
            ("x-tidegate-key", signed.key.to_string()),
        ])
    }
}

pub(crate) fn keygen(args: KeygenArgs) -> Result<()> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow!("no randomness to be had: {error}"))?;
    let key = PrivateKey::from_seed(&seed);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
        .with_context(|| format!("creating {}", args.out.display()))?;
    file.write_all(key.to_pem().as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("writing {}", args.out.display()))?;
    eprintln!(
        "the private key is in {}; brokers trust its plugins with\n  tidegate.plugins.trusted.keys={}",
        args.out.display(),
        key.public()
    );
    say!("{}", key.public())?;
    Ok(())
}

pub(crate) fn run(args: SignArgs) -> Result<()> {
    let component =
        std::fs::read(&args.file).with_context(|| format!("reading {}", args.file.display()))?;
    let signed = sign(&args.key, &args.name, &args.version, &component)?;
    let out = args.out.unwrap_or_else(|| {
        let mut name = args.file.clone().into_os_string();
        name.push(".sig");
        name.into()
    });
    std::fs::write(&out, format!("{signed}\n"))
        .with_context(|| format!("writing {}", out.display()))?;
    eprintln!(
        "{} signed as {} {} by {}",
        args.file.display(),
        args.name,
        args.version,
        signed.key
    );
    say!("{}", out.display())?;
    Ok(())
}

fn sign(key: &Path, name: &str, version: &str, component: &[u8]) -> Result<SignedBy> {
    let key = PrivateKey::from_pem(&read(key)?).with_context(|| key.display().to_string())?;
    Ok(key.sign(name, version, digest(component)))
}

fn digest(component: &[u8]) -> Digest {
    Digest(Sha256::digest(component).into())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_new_key_signs_and_the_file_is_pushed_with_it() {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        keygen(KeygenArgs { out: at("k") }).unwrap();
        let mode = std::fs::metadata(at("k")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(
            keygen(KeygenArgs { out: at("k") }).is_err(),
            "a key is never overwritten"
        );
        std::fs::write(at("f.wasm"), "bytes").unwrap();
        run(SignArgs {
            file: at("f.wasm"),
            name: "f".into(),
            version: "1".into(),
            key: at("k"),
            out: None,
        })
        .unwrap();
        let with = |signature, sign_key| SignatureArgs {
            signature,
            sign_key,
        };
        let filed = with(Some(at("f.wasm.sig")), None);
        let headers = filed.headers("f", "1", b"bytes").unwrap();
        let fresh = with(None, Some(at("k")))
            .headers("f", "1", b"bytes")
            .unwrap();
        assert_eq!(headers, fresh);
        assert_eq!(headers.len(), 2);
        let error = filed.headers("f", "2", b"bytes").unwrap_err().to_string();
        assert!(error.contains("plugin sign"), "{error}");
        assert!(filed.headers("f", "1", b"other").is_err());
        assert!(
            with(None, None)
                .headers("f", "1", b"bytes")
                .unwrap()
                .is_empty()
        );
    }
}
