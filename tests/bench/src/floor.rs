//! What no broker can be quicker than on this machine: the same batches at the same rate over loopback to one thread that looks
//! at nothing, with `acks` of all once they are on the disk.
//!
//! The file is written over and over, as a log that reuses its files does, so a sync has no new blocks to note.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::thread;

use tidegate_protocol::{PREFIX_LEN, check_len};

use crate::Failure;
use crate::connection::{Connection, MAX_FRAME};
use crate::figures::{Figures, Start, joined};
use crate::frames;
use crate::latency::Plan;
use crate::options::Options;

const FILE_BYTES: usize = 16 << 20;

pub(crate) fn run(options: &Options) -> Result<Figures, Failure> {
    let plan = Plan::new(options)?;
    let mut frames = vec![frames::produce(options, 0..1, 1)?];
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let disk = match options.acks {
        -1 => Some(Disk::create(options)?),
        _ => None,
    };
    let mut acks = thread::scope(|scope| {
        scope.spawn(move || serve(&listener, disk));
        let mut sender = Connection::open(&address)?;
        let mut answers = sender.split()?;
        let (start, plan) = (Start::now().at(), &plan);
        let acks = scope.spawn(move || plan.acks(&mut answers, start, |_| Ok(())));
        plan.send(&mut sender, &mut frames, start)?;
        joined(acks.join())
    })?;
    Ok(Figures::default().with_latencies("ack", &mut acks))
}

/// Until the client is gone.
fn serve(listener: &TcpListener, mut disk: Option<Disk>) -> Result<(), Failure> {
    let mut stream = listener.accept()?.0;
    stream.set_nodelay(true)?;
    let mut frame = Vec::new();
    while let Some(correlation) = next(&mut stream, &mut frame)? {
        if let Some(disk) = &mut disk {
            disk.write(&frame)?;
        }
        let [a, b, c, d] = correlation;
        stream.write_all(&[0, 0, 0, 4, a, b, c, d])?;
    }
    Ok(())
}

/// The next frame without its length; its correlation id stands behind key and version.
fn next(stream: &mut TcpStream, frame: &mut Vec<u8>) -> Result<Option<[u8; 4]>, Failure> {
    let mut prefix = [0; PREFIX_LEN];
    match stream.read_exact(&mut prefix) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    frame.resize(check_len(prefix, MAX_FRAME)?, 0);
    stream.read_exact(frame)?;
    let correlation = frame.get(4..8).ok_or("a frame without a header")?;
    Ok(Some(correlation.try_into()?))
}

struct Disk {
    file: File,
    at: usize,
}

impl Disk {
    /// A file without a name, gone with the process.
    fn create(options: &Options) -> Result<Disk, Failure> {
        let path = options.directory.join("tidegate-bench-floor");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        file.write_all_at(&vec![0; FILE_BYTES], 0)?;
        file.sync_all()?;
        Ok(Disk { file, at: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.at + bytes.len() > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at as u64)?;
        self.at += bytes.len();
        Ok(self.file.sync_data()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_batch_is_answered_with_and_without_a_disk() {
        for acks in ["1", "-1"] {
            let line = format!(
                "floor --acks {acks} --rate 2000 --seconds 1.2 --batch-bytes 10000 --directory {}",
                std::env::temp_dir().display()
            );
            let options = Options::parse(line.split_whitespace().map(str::to_owned)).unwrap();
            let json = run(&options).unwrap().json();
            assert!(!json.contains("null"), "{json}");
        }
    }
}
