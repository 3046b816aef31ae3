//! Buffers of workers, and the thread that writes them.

use std::{
    io::{self, Write},
    mem,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use tracing::warn;

use super::{Entry, Format, clock::Clock, line};
use crate::metrics::{Counter, Meters};

/// A worker's end of the log. Dropping it hands over what is left.
#[derive(Debug)]
pub struct Log {
    format: Format,
    clock: Clock,
    buffer: Buffer,
    /// Lines that were dropped and not yet counted.
    dropped: u64,
    /// None where there is no log.
    out: Option<Out>,
}

/// The thread that writes.
#[derive(Debug)]
pub struct Writer {
    /// Says nothing, and is closed when everything is written.
    done: Option<Receiver<()>>,
}

/// The way to the writer and back.
#[derive(Debug)]
struct Out {
    worker: usize,
    full: SyncSender<(usize, Buffer)>,
    empty: Receiver<Buffer>,
    /// How many buffers the worker may still make.
    unmade: usize,
    lost_full: Counter,
    lost_write: Counter,
}

/// Whole lines.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    lines: u64,
}

/// How many bytes make a buffer full.
const FULL: usize = 32 << 10;

/// What a buffer can hold without growing: the lines before it was full, and one more of any usual length.
const CAPACITY: usize = FULL + (8 << 10);

/// How many buffers a worker has. While all are with the writer, its lines are dropped.
const BUFFERS: usize = 32;

/// Begins a log: one end for each of `workers`, and the thread that writes to `out`.
///
/// # Errors
///
/// Where the system gives no thread.
pub fn start(
    format: Format,
    mut out: Box<dyn Write + Send>,
    workers: usize,
    meters: &Meters,
) -> io::Result<(Writer, Vec<Log>)> {
    if format == Format::Off {
        return Ok((Writer { done: None }, (0..workers).map(|_| Log::off()).collect()));
    }

    // There is room for every buffer of every worker, so handing one over never waits and never fails.
    let (full, to_write) = sync_channel::<(usize, Buffer)>(workers * BUFFERS);
    let mut homes = Vec::new();
    let mut logs = Vec::new();
    let lost_write = meters.log_lines_dropped.with(["write"]);
    for worker in 0..workers {
        let (home, empty) = sync_channel(BUFFERS);
        homes.push(home);
        logs.push(Log {
            format,
            clock: Clock::new(),
            buffer: Buffer::new(),
            dropped: 0,
            out: Some(Out {
                worker,
                full: full.clone(),
                empty,
                unmade: BUFFERS - 1,
                lost_full: meters.log_lines_dropped.with(["full"]),
                lost_write: lost_write.clone(),
            }),
        });
    }

    let (finished, done) = sync_channel(0);
    thread::Builder::new().name("access-log".to_owned()).spawn(move || {
        write_all(&to_write, &homes, &mut *out, &lost_write);
        drop(finished);
    })?;
    Ok((Writer { done: Some(done) }, logs))
}

/// Writes what comes until all workers are gone. What cannot be written is lost, and counted.
fn write_all(to_write: &Receiver<(usize, Buffer)>, homes: &[SyncSender<Buffer>], out: &mut dyn Write, lost: &Counter) {
    let mut failing = false;
    for (worker, mut buffer) in to_write {
        match out.write_all(&buffer.bytes).and_then(|()| out.flush()) {
            Ok(()) => failing = false,
            Err(error) => {
                lost.add(buffer.lines);
                if !mem::replace(&mut failing, true) {
                    warn!(%error, "the access log cannot be written; its lines are lost until it can");
                }
            }
        }
        buffer.clear();
        if let Some(home) = homes.get(worker) {
            // The worker may be gone; then the buffer is, too.
            let _ = home.try_send(buffer);
        }
    }
}

// === impl Log ===

impl Log {
    /// A log that has no lines.
    #[must_use]
    pub fn off() -> Self {
        Self { format: Format::Off, clock: Clock::new(), buffer: Buffer::default(), dropped: 0, out: None }
    }

    /// Whether lines are wanted: if not, there is no need to make entries.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.out.is_some()
    }

    /// Adds the line of a request, or drops it where the writer is too far behind.
    pub fn record(&mut self, entry: &Entry<'_>) {
        if self.buffer.bytes.len() >= FULL {
            self.flush();
            if self.buffer.bytes.len() >= FULL {
                self.dropped += 1;
                return;
            }
        }
        match self.format {
            Format::Off => return,
            Format::Nginx => line::nginx(&mut self.buffer.bytes, &mut self.clock, entry),
            Format::Json => line::json(&mut self.buffer.bytes, &mut self.clock, entry),
        }
        self.buffer.lines += 1;
    }

    /// Hands the lines to the writer, as far as there is an empty buffer to go on with. To be called once a second,
    /// so that lines of a quiet worker do not wait for long.
    pub fn flush(&mut self) {
        let Some(out) = &mut self.out else { return };
        if self.dropped > 0 {
            out.lost_full.add(mem::take(&mut self.dropped));
        }
        if self.buffer.lines == 0 {
            return;
        }
        let empty = match out.empty.try_recv() {
            Ok(empty) => empty,
            Err(_) if out.unmade > 0 => {
                out.unmade -= 1;
                Buffer::new()
            }
            Err(_) => return,
        };
        out.hand_over(mem::replace(&mut self.buffer, empty));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let Some(out) = &mut self.out else { return };
        out.lost_full.add(self.dropped);
        if self.buffer.lines > 0 {
            out.hand_over(mem::take(&mut self.buffer));
        }
    }
}

// === impl Out ===

impl Out {
    fn hand_over(&self, buffer: Buffer) {
        let lines = buffer.lines;
        // There is always room; it fails only where the thread is gone.
        if self.full.try_send((self.worker, buffer)).is_err() {
            self.lost_write.add(lines);
        }
    }
}

// === impl Buffer ===

impl Buffer {
    fn new() -> Self {
        Self { bytes: Vec::with_capacity(CAPACITY), lines: 0 }
    }

    /// Empties it, and gives back what a very long line made it grow by.
    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(CAPACITY);
        self.lines = 0;
    }
}

// === impl Writer ===

impl Writer {
    /// Waits until everything is written: the lines of all [`Log`]s, which must be dropped before. Returns whether it
    /// was within `limit`; a reader that hangs must not keep the process from its end.
    #[must_use]
    pub fn finish(self, limit: Duration) -> bool {
        match self.done {
            None => true,
            Some(done) => matches!(done.recv_timeout(limit), Err(RecvTimeoutError::Disconnected)),
        }
    }
}
