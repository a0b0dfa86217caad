//! Writes plugins that do harm, which no compiler would write: `hostile-corpus DIRECTORY`.
//!
//! They are sorted by the moment at which they do it: `push/` while they are validated and compiled, `bind/` while their
//! configuration is tried, `run/` with a batch. What stands in `works/` looks like harm and is allowed. What each of them
//! must lead to is said in tests/hostile/shapes.py.

mod bind;
mod bombs;
mod push;
mod run;
mod works;

// The same hand-written guests as in the engine's own tests.
#[allow(
    dead_code,
    reason = "the engine's tests use more of it, and some of it only they"
)]
#[path = "../../../../../runtime/plugin/tests/suite/guests.rs"]
mod guests;

use std::path::Path;
use std::{env, fs, io, process};

/// A file's name, without its extension, and its bytes.
type Shape = (&'static str, Vec<u8>);

fn main() {
    let Some(out) = env::args_os().nth(1) else {
        eprintln!("hostile-corpus DIRECTORY");
        process::exit(2);
    };
    if let Err(error) = write_all(Path::new(&out)) {
        eprintln!("{}: {error}", Path::new(&out).display());
        process::exit(1);
    }
}

fn write_all(out: &Path) -> io::Result<()> {
    for (stage, shapes) in [
        ("push", [push::shapes(), bombs::shapes()].concat()),
        ("bind", bind::shapes()),
        ("run", run::shapes()),
        ("works", works::shapes()),
    ] {
        let directory = out.join(stage);
        // What an older corpus had must not be tested.
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&directory)?,
        }
        for (name, wasm) in shapes {
            fs::write(directory.join(name).with_extension("wasm"), wasm)?;
        }
    }
    Ok(())
}
