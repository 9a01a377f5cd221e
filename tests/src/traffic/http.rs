//! Transfers over HTTP/1.1, one for each connection, compared byte for byte at the receiving end.
//!
//! `GET /1000000` answers with that many bytes of a fixed pattern; `POST /` takes them and answers
//! 200 if every byte is right, else 409 with the place of the first wrong one. Any HTTP client can
//! be used; [`download`] and [`upload`] are the ones that check.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream},
    sync::LazyLock,
    thread::{self, JoinHandle},
};

use socket2::Socket;

use crate::{netns::Namespace, patience::patience, sockets::v4};

/// Length of the pattern before it repeats: a prime, so that no block size falls into step.
const PERIOD: usize = 1_048_573;

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..PERIOD).map(|_| next()).collect()
});

/// A server for transfers.
#[derive(Debug)]
pub struct Server {
    address: SocketAddrV4,
    listener: Socket,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on `port` of all addresses; port 0 lets the kernel choose.
    ///
    /// # Panics
    /// If the port is taken.
    #[track_caller]
    pub fn start(namespace: &Namespace, port: u16) -> Self {
        let listener = namespace.tcp_listen(port);
        let address = v4(listener.local_addr().expect("a bound socket"));
        let handle = Socket::from(listener.try_clone().expect("duplicate a socket"));
        let thread = thread::spawn(move || serve(&listener));
        Self { address, listener: handle, thread: Some(thread) }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes the thread that accepts.
        let _ = self.listener.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Downloads `length` bytes, and compares them.
pub fn download(
    namespace: &Namespace,
    (address, port): (Ipv4Addr, u16),
    length: usize,
) -> io::Result<()> {
    let mut stream = namespace.tcp_connect((address, port))?;
    write!(stream, "GET /{length} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let head = read_head(&mut reader)?;
    expect_ok(&head)?;
    let received = compare_with_pattern(&mut reader, length)?;
    if received == length && at_end(&mut reader)? {
        Ok(())
    } else {
        Err(io::Error::other(format!("{received} bytes arrived instead of {length}")))
    }
}

/// Uploads `length` bytes, which the server compares.
pub fn upload(
    namespace: &Namespace,
    (address, port): (Ipv4Addr, u16),
    length: usize,
) -> io::Result<()> {
    let mut stream = namespace.tcp_connect((address, port))?;
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n"
    )?;
    write_pattern(&mut stream, length)?;
    expect_ok(&read_head(&mut BufReader::new(stream))?)
}

fn serve(listener: &TcpListener) {
    while let Ok((stream, _)) = listener.accept() {
        // The client sees it if an answer fails; connections end with their time limits.
        thread::spawn(move || answer(stream));
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(patience()))?;
    stream.set_write_timeout(Some(patience()))?;
    let mut reader = BufReader::with_capacity(1 << 16, stream.try_clone()?);
    let head = read_head(&mut reader)?;
    let number = |text: Option<&str>| text.and_then(|t| t.trim().parse::<usize>().ok());
    let mut words = head[0].split(' ');
    match (words.next(), words.next()) {
        (Some("GET"), Some(path)) => match number(path.strip_prefix('/')) {
            Some(length) => {
                write_head(&mut stream, "200 OK", length)?;
                write_pattern(&mut stream, length)
            }
            None => write_head(&mut stream, "404 ask for a number of bytes", 0),
        },
        (Some("POST"), _) => {
            let length = head.iter().find_map(|l| number(l.strip_prefix("Content-Length:")));
            let length = length.unwrap_or(0);
            match compare_with_pattern(&mut reader, length) {
                Ok(received) if received == length => write_head(&mut stream, "200 OK", 0),
                Ok(received) => write_head(&mut stream, &format!("409 only {received} bytes"), 0),
                Err(error) => write_head(&mut stream, &format!("409 {error}"), 0),
            }
        }
        _ => write_head(&mut stream, "405 only GET and POST", 0),
    }
}

fn write_head(stream: &mut TcpStream, status: &str, length: usize) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
}

/// The lines up to the empty one, at least one.
fn read_head(reader: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() && !head.is_empty() {
            return Ok(head);
        }
        head.push(line);
    }
}

fn expect_ok(head: &[String]) -> io::Result<()> {
    if head[0].split(' ').nth(1) == Some("200") {
        Ok(())
    } else {
        Err(io::Error::other(format!("the server answered: {}", head[0])))
    }
}

fn write_pattern(to: &mut impl Write, length: usize) -> io::Result<()> {
    let mut sent = 0;
    while sent < length {
        let part = pattern_at(sent, length - sent);
        to.write_all(part)?;
        sent += part.len();
    }
    to.flush()
}

/// Reads up to `length` bytes and returns how many came; a wrong one is an error.
fn compare_with_pattern(from: &mut impl BufRead, length: usize) -> io::Result<usize> {
    let mut received = 0;
    while received < length {
        let data = from.fill_buf()?;
        if data.is_empty() {
            break;
        }
        let expected = pattern_at(received, data.len().min(length - received));
        let count = expected.len();
        if data[..count] != *expected {
            let wrong = data.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(0);
            return Err(io::Error::other(format!("byte {} is wrong", received + wrong)));
        }
        from.consume(count);
        received += count;
    }
    Ok(received)
}

fn at_end(from: &mut impl Read) -> io::Result<bool> {
    Ok(from.read(&mut [0])? == 0)
}

/// The bytes of the pattern from `offset` on: at most `most`, fewer where it repeats.
fn pattern_at(offset: usize, most: usize) -> &'static [u8] {
    let rest = &PATTERN[offset % PERIOD..];
    &rest[..most.min(rest.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_byte_is_found() {
        let mut data = Vec::new();
        write_pattern(&mut data, PERIOD + 100).expect("write to memory");
        assert_eq!(compare_with_pattern(&mut &data[..], PERIOD + 100).ok(), Some(PERIOD + 100));
        data[PERIOD + 7] ^= 1;
        let error = compare_with_pattern(&mut &data[..], PERIOD + 100).expect_err("wrong");
        assert_eq!(error.to_string(), format!("byte {} is wrong", PERIOD + 7));
    }
}
