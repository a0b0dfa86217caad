//! Compiling, in a child process where there is one.
//!
//! A compiler is the part of the engine that a hostile upload can hurt most: its time and memory follow from the input,
//! and a Rust process that runs out of memory ends. So the broker starts its own program once more, which lowers its
//! limits, reads the component, answers with the code, and ends. Whatever happens to it is a sentence for whoever
//! uploaded. The parent parses nothing of an upload but its first bytes. A child whose parent died ends when it next reads
//! or writes, and at the latest when its processor time is used up.

mod child;
mod frame;

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;
use std::{io, thread};

use wasmtime::Engine;

use crate::LoadError;
use crate::artifact::MAX_CODE_BYTES;
use crate::verdict::excerpt;

use self::frame::{Answer, Request};

pub use self::child::compile_child;

/// The hidden subcommand that a program given to [`Compiler::Child`] must have: it calls [`compile_child`].
pub const COMPILE_COMMAND: &str = "compile-plugin";

/// Compilations at one time, each with its own memory bound.
const AT_ONCE: usize = 2;
/// Threads of one compilation, which is not urgent: half the cores stay for the broker.
const MAX_THREADS: usize = 4;
/// Of the child's last words.
const MAX_WORDS: u64 = 4096;
/// SIGXCPU: its processor time is used up.
const XCPU: i32 = 24;

/// Where components are compiled.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Compiler {
    /// In this process, without bounds: for tests and for tools that compile their user's own plugin.
    #[default]
    InProcess,
    /// In a child of this process: the program, which answers to [`COMPILE_COMMAND`].
    Child(PathBuf),
}

/// What one compilation in a child process may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) timeout: Duration,
    pub(crate) memory_bytes: u64,
}

/// The child's answer, if one came in time, and its last words, to be had when it is dead.
type Talk<'scope> = (
    Result<io::Result<Answer>, RecvTimeoutError>,
    ScopedJoinHandle<'scope, String>,
);

pub(crate) struct Workshop {
    compiler: Compiler,
    bounds: Bounds,
    busy: Mutex<usize>,
    freed: Condvar,
}

impl Workshop {
    pub(crate) fn new(compiler: Compiler, bounds: Bounds) -> Workshop {
        Workshop {
            compiler,
            bounds,
            busy: Mutex::new(0),
            freed: Condvar::new(),
        }
    }

    /// The component's code for `engine`. Waits for its turn, then for at most the time bound.
    pub(crate) fn compile(
        &self,
        engine: &Engine,
        compatibility: [u8; 32],
        wasm: &[u8],
    ) -> Result<Vec<u8>, LoadError> {
        let _turn = self.turn();
        match &self.compiler {
            Compiler::InProcess => precompile(engine, wasm).map_err(LoadError::Compile),
            Compiler::Child(program) => {
                let request = Request {
                    compatibility,
                    memory_bytes: self.bounds.memory_bytes,
                    timeout: self.bounds.timeout,
                    wasm,
                };
                self.in_child(program, &request)
            }
        }
    }

    fn in_child(&self, program: &Path, request: &Request<'_>) -> Result<Vec<u8>, LoadError> {
        let unavailable = |error: io::Error| {
            LoadError::Unavailable(format!("the compiler did not start: {error}"))
        };
        let mut child = start(program).map_err(unavailable)?;
        let result = thread::scope(|scope| {
            let talk = self.talk(&mut child, scope, request);
            // Answered, dead or too slow: in every case nothing more is expected of it, and without it the threads
            // that hold its pipes end.
            drop(child.kill());
            let status = child.wait();
            talk.map(|(answer, words)| (answer, words.join().unwrap_or_default(), status))
        });
        let (answer, words, status) = result.map_err(unavailable)?;
        match answer {
            Ok(Ok(Answer::Code(code))) => Ok(code),
            Ok(Ok(Answer::Invalid(sentence))) => Err(LoadError::Compile(sentence)),
            Ok(Ok(Answer::Stranger)) => Err(LoadError::Unavailable(
                "the program was replaced while the broker runs; restart the broker".to_owned(),
            )),
            Ok(Err(_)) => Err(self.died(status, &words)),
            Err(RecvTimeoutError::Timeout) => Err(self.too_slow()),
            Err(RecvTimeoutError::Disconnected) => Err(self.died(status, &words)),
        }
    }

    /// Gives the request and waits for the answer, no longer than the bound.
    fn talk<'scope, 'a: 'scope>(
        &self,
        child: &mut Child,
        scope: &'scope Scope<'scope, '_>,
        request: &'a Request<'a>,
    ) -> io::Result<Talk<'scope>> {
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut input), Some(output), Some(errors)) = pipes else {
            return Err(io::Error::other("it has no pipes"));
        };
        let spawn = || thread::Builder::new().name("tidegate-compile".to_owned());
        let (send, answer) = mpsc::channel();
        // A child that does not read to the end says why by itself, or is dead.
        spawn().spawn_scoped(scope, move || drop(request.write(&mut input)))?;
        spawn().spawn_scoped(scope, move || {
            drop(send.send(Answer::read(output, MAX_CODE_BYTES as u64)));
        })?;
        let words = spawn().spawn_scoped(scope, move || {
            let mut words = Vec::new();
            let mut errors = errors;
            drop(errors.by_ref().take(MAX_WORDS).read_to_end(&mut words));
            // The rest is of no interest, but a full pipe would hold the child up.
            drop(io::copy(&mut errors, &mut io::sink()));
            String::from_utf8_lossy(&words).into_owned()
        })?;
        Ok((answer.recv_timeout(self.bounds.timeout), words))
    }

    /// It ended without an answer.
    fn died(&self, status: io::Result<ExitStatus>, words: &str) -> LoadError {
        // What Rust's allocator says before it aborts.
        if words.contains("memory allocation of") {
            return LoadError::CompileMemory {
                max_bytes: self.bounds.memory_bytes,
            };
        }
        let signal = status.as_ref().ok().and_then(ExitStatus::signal);
        if signal == Some(XCPU) {
            return self.too_slow();
        }
        let last = words.lines().rfind(|line| !line.trim().is_empty());
        LoadError::Compile(format!(
            "the compiler did not survive the plugin ({}){}",
            match (signal, status) {
                (Some(signal), _) => format!("signal {signal}"),
                (None, Ok(status)) => status.to_string(),
                (None, Err(error)) => error.to_string(),
            },
            last.map(|line| format!(": {}", excerpt(line)))
                .unwrap_or_default()
        ))
    }

    fn too_slow(&self) -> LoadError {
        LoadError::CompileTime {
            max_ms: u64::try_from(self.bounds.timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn turn(&self) -> Turn<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while *busy >= AT_ONCE {
            busy = self
                .freed
                .wait(busy)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *busy += 1;
        Turn(self)
    }
}

struct Turn<'a>(&'a Workshop);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut busy = self.0.busy.lock().unwrap_or_else(PoisonError::into_inner);
        *busy = busy.saturating_sub(1);
        drop(busy);
        self.0.freed.notify_one();
    }
}

/// Compiles in this process. The error is a sentence.
fn precompile(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, String> {
    engine.precompile_component(wasm).map_err(|error| {
        format!(
            "the file is not a valid component: {}",
            excerpt(&error.root_cause().to_string())
        )
    })
}

fn start(program: &Path) -> io::Result<Child> {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let threads = (cores / 2).clamp(1, MAX_THREADS);
    let mut command = Command::new(program);
    command
        // The program's path may be /proc/self/exe, which says nothing in a list of processes.
        .arg0("tidegate")
        .arg(COMPILE_COMMAND)
        // The broker's environment may hold secrets, and nothing in it is for the child.
        .env_clear()
        .env("RAYON_NUM_THREADS", threads.to_string())
        // Each arena reserves address space, which is what is bounded.
        .env("MALLOC_ARENA_MAX", "2")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", path);
    }
    command.spawn()
}
