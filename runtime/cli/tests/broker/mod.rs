//! A broker of its own for a test: the binary, in a temporary directory, on ports that the system chooses.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub(crate) struct Broker {
    process: Child,
    kafka: String,
    admin: String,
    home: tempfile::TempDir,
}

impl Broker {
    pub(crate) fn start() -> Broker {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut process = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(home.path().join("data"))
            .env("TIDEGATE_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = process.stdout.take().expect("its output is piped");
        let mut ready = String::new();
        BufReader::new(stdout)
            .read_line(&mut ready)
            .expect("it says that it is ready");
        let word_after = |word: &str| {
            let mut words = ready.split_whitespace().skip_while(|w| *w != word);
            let found = words
                .nth(2)
                .unwrap_or_else(|| panic!("no {word} in `{ready}`"));
            found.trim_end_matches(',').to_owned()
        };
        Broker {
            kafka: word_after("Kafka"),
            admin: word_after("admin"),
            process,
            home,
        }
    }

    /// For files of the test's.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command
            .current_dir(self.home())
            .args(arguments)
            .env("TIDEGATE_BOOTSTRAP", &self.kafka)
            .env("TIDEGATE_ADMIN", &self.admin);
        command
    }

    fn output(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdin = child.stdin.take().expect("its input is piped");
        // A command that does not read is no reason to fail.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    /// What a command that must succeed prints.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        self.run_with(arguments, "")
    }

    #[track_caller]
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.output(arguments, input);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}:\n{told}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments = [arguments, &["-o", "json"]].concat();
        let printed = self.run(&arguments);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// All that a command that must fail says.
    #[track_caller]
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments, "");
        assert!(!output.status.success(), "{arguments:?} succeeded");
        let both = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&both).into_owned()
    }

    /// The values of a topic, all there are.
    #[track_caller]
    pub(crate) fn values(&self, topic: &str) -> Vec<String> {
        let printed = self.run(&[
            "consume",
            topic,
            "--from-beginning",
            "--until-end",
            "-o",
            "raw",
        ]);
        printed.lines().map(str::to_owned).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Nothing of it is wanted any more.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A component that is checked in.
pub(crate) fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../sdk/harness/tests/fixtures")
        .join(name);
    path.to_string_lossy().into_owned()
}
