//! The well-behaved client: asks at a steady rate, whatever becomes of its requests.
//!
//! Each request has its time, and its latency counts from then on. So a stall counts for every request that it delays,
//! also for those that could not be sent because of it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{Result, process::pause};

/// Requests a second, over all connections: so few that neither core is busy with them.
const RATE: u32 = 500;
/// Connections over HTTP/1.1, each with a thread of its own: the runtime's timers are only good to a millisecond.
const CONNECTIONS: u32 = 16;
/// How many bytes are answered.
const SIZE: usize = 200;

/// Asks, and gives the latencies in order.
pub fn ask(address: SocketAddr, seconds: u32) -> Result<Vec<Duration>> {
    // By then, all are connected.
    let start = Instant::now() + Duration::from_millis(100);
    let threads: Vec<_> =
        (0..CONNECTIONS).map(|first| thread::spawn(move || ask_on_one(address, start, first, seconds))).collect();
    let mut latencies = Vec::new();
    for thread in threads {
        latencies.extend(thread.join().map_err(|_| "a connection's thread panicked")??);
    }
    latencies.sort();
    Ok(latencies)
}

/// Sends every sixteenth request, from the given one on.
fn ask_on_one(address: SocketAddr, start: Instant, first: u32, seconds: u32) -> io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let request = format!("GET /{SIZE} HTTP/1.1\r\nHost: bench.example\r\n\r\n");
    let mut latencies = Vec::new();
    for at in (first..RATE * seconds).step_by(CONNECTIONS as usize) {
        let due = start + Duration::from_secs(1) * at / RATE;
        pause(due.saturating_duration_since(Instant::now()));
        stream.write_all(request.as_bytes())?;
        read_answer(&mut stream)?;
        latencies.push(due.elapsed());
    }
    Ok(latencies)
}

fn read_answer(stream: &mut impl Read) -> io::Result<()> {
    let mut answer = [0; 4096];
    let mut length = 0;
    loop {
        match stream.read(&mut answer[length..])? {
            0 => return Err(io::Error::other("the answer ends too early")),
            read => length += read,
        }
        let answer = &answer[..length];
        let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            return Err(io::Error::other(String::from_utf8_lossy(answer)));
        }
        if length >= head + 4 + SIZE {
            return Ok(());
        }
    }
}
