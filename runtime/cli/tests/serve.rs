//! `tidegate serve` with the child that compiles, and the commands that sign, as somebody at a terminal has them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

mod common;

use common::bomb;
use common::guests::{Guest, KEEP_ALL};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

struct Broker {
    process: Child,
    admin: String,
}

impl Broker {
    fn start(directory: &Path, settings: &[(&str, &str)]) -> Broker {
        let mut command = Command::new(PROGRAM);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(directory.join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        for (key, value) in settings {
            let key = key.replace('_', "__").replace('.', "_").to_uppercase();
            command.env(format!("TIDEGATE_CFG_{key}"), value);
        }
        let mut process = command.spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        let admin = ready
            .split_once("admin on ")
            .and_then(|(_, rest)| rest.split_once(','))
            .expect("the line that says where the broker listens");
        Broker {
            process,
            admin: admin.0.to_owned(),
        }
    }

    fn run(&self, directory: &Path, args: &[&str]) -> Output {
        tidegate(directory, &[args, &["--admin-url", &self.admin]].concat())
    }

    /// The most memory that the broker's own process ever had, in bytes.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.unwrap().parse::<u64>().unwrap() << 10
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn tidegate(directory: &Path, args: &[&str]) -> Output {
    Command::new(PROGRAM)
        .current_dir(directory)
        .args(args)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_bomb_is_refused_and_costs_the_broker_nothing() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let settings = [("tidegate.plugins.compile.memory.bytes", "67108864")];
    let broker = Broker::start(at, &settings);
    fs::write(at.join("good.wasm"), Guest::filter(KEEP_ALL).build()).unwrap();
    let bomb = bomb();
    fs::write(at.join("bomb.wasm"), &bomb).unwrap();
    let good = broker.run(at, &["plugin", "push", "good.wasm", "--version", "1"]);
    assert!(good.status.success(), "{}", said(&good));
    let before = broker.peak();
    let refused = broker.run(at, &["plugin", "push", "bomb.wasm", "--version", "1"]);
    assert!(!refused.status.success());
    assert!(
        said(&refused).contains("tidegate.plugins.compile.memory.bytes"),
        "{}",
        said(&refused)
    );
    let grown = broker.peak() - before;
    // Compiling it here would have taken more than the 64 MiB that the child had.
    assert!(
        grown < 32 << 20,
        "{grown} bytes for a file of {}",
        bomb.len()
    );
    let list = broker.run(at, &["plugin", "list"]);
    assert!(
        said(&list).contains("good") && !said(&list).contains("bomb"),
        "{}",
        said(&list)
    );
}

#[test]
fn a_signed_plugin_comes_in_and_others_do_not() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let keygen = tidegate(at, &["plugin", "keygen", "--out", "release.key"]);
    assert!(keygen.status.success(), "{}", said(&keygen));
    let key = String::from_utf8(keygen.stdout).unwrap().trim().to_owned();
    let broker = Broker::start(at, &[("tidegate.plugins.trusted.keys", &key)]);
    fs::write(at.join("f.wasm"), Guest::filter(KEEP_ALL).build()).unwrap();
    let push = ["plugin", "push", "f.wasm", "--name", "f", "--version", "1"];
    let refused = broker.run(at, &push);
    assert!(
        !refused.status.success() && said(&refused).contains("--sign-key"),
        "{}",
        said(&refused)
    );
    tidegate(at, &["plugin", "keygen", "--out", "other.key"]);
    let stranger = broker.run(at, &[&push[..], &["--sign-key", "other.key"]].concat());
    assert!(
        !stranger.status.success() && said(&stranger).contains("not one of"),
        "{}",
        said(&stranger)
    );

    let sign = [
        "plugin",
        "sign",
        "f.wasm",
        "--name",
        "f",
        "--version",
        "1",
        "--key",
        "release.key",
    ];
    let signed = tidegate(at, &sign);
    assert_eq!(
        String::from_utf8_lossy(&signed.stdout).trim(),
        "f.wasm.sig",
        "{}",
        said(&signed)
    );
    let pushed = broker.run(at, &[&push[..], &["--signature", "f.wasm.sig"]].concat());
    assert!(pushed.status.success(), "{}", said(&pushed));
    let shown = broker.run(at, &["plugin", "show", "f"]);
    assert!(
        said(&shown).contains(&format!("signed by {key}")),
        "{}",
        said(&shown)
    );
}
