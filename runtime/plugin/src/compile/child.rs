//! The child's side: lowers its limits, reads, compiles, answers, ends.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use rlimit::Resource;
use wasmtime::Engine;

use super::frame::{Answer, Head, exactly};
use super::precompile;
use crate::{engine, site};

/// Address space beyond what is written: the program itself, stacks, arenas that malloc reserves.
const ADDRESS_SPACE: u64 = 1 << 30;
/// No broker asks for more; a length on standard input is not believed beyond it.
const MAX_WASM: u64 = 1 << 30;

/// What the program behind [`Compiler::Child`](super::Compiler::Child) does when it is called with
/// [`COMPILE_COMMAND`](super::COMPILE_COMMAND): one request from standard input, one answer to standard output.
pub fn compile_child() -> ExitCode {
    match serve(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: this command is for the broker itself: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let head = Head::read(input)?;
    lower_limits(head.memory_bytes, head.timeout)?;
    answer(&head, input)?.write(output)
}

fn answer(head: &Head, input: &mut impl Read) -> io::Result<Answer> {
    let engine = Engine::new(&site::on_demand(&engine::config()))
        .map_err(|error| io::Error::other(format!("{error:#}")))?;
    if site::compatibility(&engine) != head.compatibility {
        return Ok(Answer::Stranger);
    }
    let wasm = exactly(input, head.length.min(MAX_WASM))?;
    Ok(match precompile(&engine, &wasm) {
        Ok(code) => Answer::Code(code),
        Err(sentence) => Answer::Invalid(sentence),
    })
}

/// What is written to counts as data, so that is the bound that matters; address space is bounded as a second net.
/// Processor time is over all threads.
fn lower_limits(memory_bytes: u64, timeout: Duration) -> io::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let seconds = timeout.as_secs().saturating_add(1).saturating_mul(threads);
    lower(Resource::CORE, 0)?;
    lower(Resource::FSIZE, 0)?;
    lower(Resource::CPU, seconds)?;
    lower(Resource::DATA, memory_bytes)?;
    lower(Resource::AS, memory_bytes.saturating_add(ADDRESS_SPACE))
}

fn lower(resource: Resource, limit: u64) -> io::Result<()> {
    // A hard limit may already be below, and can only go down.
    let (_, hard) = resource.get()?;
    let limit = limit.min(hard);
    resource.set(limit, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(compatibility: [u8; 32], length: usize) -> Head {
        Head {
            compatibility,
            memory_bytes: 1 << 30,
            timeout: Duration::from_secs(60),
            length: length as u64,
        }
    }

    fn own() -> [u8; 32] {
        site::compatibility(&Engine::new(&engine::config()).unwrap())
    }

    #[test]
    fn answers_with_code_or_a_sentence() {
        let component = b"\0asm\x0d\0\x01\0";
        let given = answer(&head(own(), component.len()), &mut &component[..]).unwrap();
        assert!(matches!(given, Answer::Code(code) if !code.is_empty()));
        let broken = b"\0asm\x0d\0\x01\0\xff\xff";
        let given = answer(&head(own(), broken.len()), &mut &broken[..]).unwrap();
        assert!(matches!(given, Answer::Invalid(why) if why.contains("not a valid component")));
    }

    #[test]
    fn another_engine_is_told_before_anything_is_read() {
        let given = answer(&head([0; 32], 1 << 20), &mut io::empty()).unwrap();
        assert_eq!(given, Answer::Stranger);
        assert!(answer(&head(own(), 10), &mut &b"short"[..]).is_err());
    }
}
