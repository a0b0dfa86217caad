//! One blocking connection, with a buffer that is allocated once.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tidegate_protocol::{
    Encodable, HeaderVersion, PREFIX_LEN, Request, check_len, decode_response, encode_request,
};

use crate::Failure;

/// More than any answer that is asked for here.
pub(crate) const MAX_FRAME: usize = 256 << 20;
const FIRST_BUFFER: usize = 128 << 10;
/// A broker that is silent for as long is taken for dead.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the correlation id stands in a request frame: behind its length, key and version.
const CORRELATION: std::ops::Range<usize> = 8..12;

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What was received and not yet taken.
    start: usize,
    end: usize,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection::of(stream))
    }

    /// Another end of the same connection, so that one thread sends while another receives.
    pub(crate) fn split(&self) -> Result<Connection, Failure> {
        Ok(Connection::of(self.stream.try_clone()?))
    }

    /// Sends a frame that is ready but for its correlation id.
    pub(crate) fn send(&mut self, frame: &mut [u8], correlation: u32) -> Result<(), Failure> {
        let place = frame
            .get_mut(CORRELATION)
            .ok_or("a frame without a header")?;
        place.copy_from_slice(&correlation.to_be_bytes());
        Ok(self.stream.write_all(frame)?)
    }

    /// The next answer, behind its correlation id, which must be this one.
    pub(crate) fn receive(&mut self, correlation: u32) -> Result<&[u8], Failure> {
        self.fill(PREFIX_LEN)?;
        let mut prefix = [0; PREFIX_LEN];
        prefix.copy_from_slice(&self.buffer[self.start..self.start + PREFIX_LEN]);
        let len = check_len(prefix, MAX_FRAME)?;
        self.fill(PREFIX_LEN + len)?;
        let frame = self.start + PREFIX_LEN..self.start + PREFIX_LEN + len;
        self.start = frame.end;
        let frame = &self.buffer[frame];
        match frame.strip_prefix(correlation.to_be_bytes().as_slice()) {
            Some(body) => Ok(body),
            None => Err(format!("an answer other than to request {correlation}").into()),
        }
    }

    /// A request whose cost does not matter.
    pub(crate) fn call<R>(&mut self, version: i16, request: &R) -> Result<R::Response, Failure>
    where
        R: Request + Encodable + HeaderVersion,
    {
        let mut frame = encode_request(version, 0, "bench", request)?.to_vec();
        self.send(&mut frame, 0)?;
        let body = self.receive(0)?;
        let frame = [&[0; 4], body].concat();
        Ok(decode_response::<R>(version, frame.into())?.1)
    }

    fn of(stream: TcpStream) -> Connection {
        Connection {
            stream,
            buffer: vec![0; FIRST_BUFFER],
            start: 0,
            end: 0,
        }
    }

    /// Until `count` bytes stand in the buffer.
    fn fill(&mut self, count: usize) -> Result<(), Failure> {
        if self.start + count > self.buffer.len() || self.start == self.end {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if count > self.buffer.len() {
                self.buffer.resize(count.next_power_of_two(), 0);
            }
        }
        while self.end - self.start < count {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err("the broker closed the connection".into()),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn answers_are_taken_one_by_one_however_they_arrive() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let large = vec![7; 2 * FIRST_BUFFER];
        let answer = |id: u8, body: &[u8]| {
            let len = u32::try_from(4 + body.len()).unwrap();
            [&len.to_be_bytes(), [0, 0, 0, id].as_slice(), body].concat()
        };
        let sent = [answer(1, b"one"), answer(2, &large), answer(3, b"three")].concat();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            sent.chunks(100_001)
                .for_each(|part| stream.write_all(part).unwrap());
        });
        let mut connection = Connection::open(&address).unwrap();
        assert_eq!(connection.receive(1).unwrap(), b"one");
        assert_eq!(connection.receive(2).unwrap(), large);
        assert_eq!(connection.receive(3).unwrap(), b"three");
        assert!(connection.receive(4).is_err());
        server.join().unwrap();
    }
}
