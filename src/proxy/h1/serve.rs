//! A client's connection, from its first byte to its last.

use std::{
    future::poll_fn,
    task::Poll,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};

use super::downstream::Client;
use crate::{
    http::{
        Answer, Asked, Coding, Framing, Refusal, relay::is_preface, request::names_http, write_answer, write_refusal,
    },
    metrics::{Connection as Counted, ConnectionState},
    proxy::{
        Stream,
        buffer::Buffer,
        caller::Caller,
        connect::Connect,
        forward::{Outcome, forward},
        linger::linger,
        record::{CLIENT_CLOSED_REQUEST, Notes, Record},
        request::{self, RequestId, Then},
        seam::{Sink, Source},
        timer::{Idleness, Timer, until_fired},
        tunnel::tunnel,
        worker::Worker,
    },
};

/// Serves the requests of a connection, one after the other. One that turns out to speak HTTP/2 is given back, with what
/// was read of it.
pub(crate) async fn serve<C: Connect>(
    worker: &Worker<C>,
    caller: &Caller,
    stream: Stream,
    counted: &Counted,
) -> Option<(Stream, Buffer)> {
    let mut connection =
        Connection { worker, caller, client: Client::new(stream), timer: worker.clock.timer(), served: 0, counted };
    connection.timer.wake_this_task().await;
    loop {
        let then = match connection.next_head().await {
            Next::Head { length, started } => connection.serve_request(length, started).await,
            Next::Refused { refusal, started } => connection.refuse_bytes(refusal, started).await,
            Next::Http2 => return Some((connection.client.stream, connection.client.inbox)),
            Next::Closed => Afterwards::Close,
        };
        match then {
            Afterwards::Keep => {}
            Afterwards::Close => return None,
            Afterwards::Reset => {
                let _ = SockRef::from(&connection.client.stream).set_linger(Some(Duration::ZERO));
                return None;
            }
            Afterwards::Linger => {
                Box::pin(linger(&mut connection.client.stream, &connection.timer)).await;
                return None;
            }
        }
    }
}

/// A client's connection and what it needs.
struct Connection<'w, C: Connect, S> {
    worker: &'w Worker<C>,
    caller: &'w Caller,
    client: Client<S>,
    timer: Timer,
    /// How many requests were served.
    served: u32,
    counted: &'w Counted,
}

/// What comes next on a connection.
enum Next {
    /// A request, whose head of `length` bytes is at the front of the inbox, read into the worker's storage.
    Head { length: usize, started: Instant },
    /// What came is no request.
    Refused { refusal: Refusal, started: Instant },
    /// The preface of HTTP/2.
    Http2,
    /// Nothing.
    Closed,
}

/// What becomes of a connection after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Afterwards {
    Keep,
    Close,
    /// It is closed once the client has taken the answer.
    Linger,
    /// It is ended in a way that the client cannot take for the end of an answer.
    Reset,
}

// === impl Connection ===

impl<C: Connect, S: AsyncRead + AsyncWrite + Unpin> Connection<'_, C, S> {
    /// Waits for the next head. While nothing comes, the connection holds no buffer.
    ///
    /// The time for a head counts in total: from the first byte, for the first request from the connection's beginning.
    async fn next_head(&mut self) -> Next {
        let (worker, client, timer) = (self.worker, &mut self.client, &self.timer);
        let config = &worker.config;
        let is_first = self.served == 0;
        if begins_nothing(client.inbox.bytes(), is_first) {
            if worker.shared.drain.is_draining() && !is_first {
                return Next::Closed;
            }
            client.inbox.release();
            client.outbox.release();
            timer.set(if is_first { config.header_timeout } else { config.keep_alive });
            timer.set_idleness(if is_first { Idleness::Fresh } else { Idleness::Idle });
            self.counted.enter(if is_first { ConnectionState::Reading } else { ConnectionState::Waiting });
        }

        let mut reading = Reading { started: None, read: 0, looked_at: 0 };
        let next = poll_fn(|cx| {
            loop {
                if !begins_nothing(client.inbox.bytes(), is_first) {
                    let started = *reading.started.get_or_insert_with(|| {
                        if !is_first || timer.has_fired() {
                            timer.set(config.header_timeout);
                        }
                        timer.set_idleness(Idleness::Busy);
                        self.counted.enter(ConnectionState::Reading);
                        Instant::now()
                    });
                    let preface = if is_first && config.http2 { is_preface(client.inbox.bytes()) } else { Some(false) };
                    if preface == Some(true) {
                        return Poll::Ready(Next::Http2);
                    }
                    if preface == Some(false) && reading.is_worth_a_look(&client.inbox) {
                        match worker.request.borrow_mut().read(client.inbox.bytes(), &config.head) {
                            Ok(Some(length)) => return Poll::Ready(Next::Head { length, started }),
                            Ok(None) => {}
                            Err(refusal) => return Poll::Ready(Next::Refused { refusal, started }),
                        }
                    }
                }
                match client.inbox.poll_fill(cx, &mut client.stream, config.head.head) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(Err(error)) if error.kind() == std::io::ErrorKind::StorageFull => {
                        let started = reading.started.unwrap_or_else(Instant::now);
                        return Poll::Ready(Next::Refused { refusal: Refusal::HeadersTooLarge, started });
                    }
                    Poll::Ready(_) => return Poll::Ready(Next::Closed),
                    Poll::Pending if timer.has_fired() => {
                        return Poll::Ready(match reading.started {
                            Some(started) => Next::Refused { refusal: Refusal::ClientTimeout, started },
                            None => Next::Closed,
                        });
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        timer.set_idleness(Idleness::Busy);
        next
    }

    /// Serves the request whose head is at hand.
    async fn serve_request(&mut self, length: usize, started: Instant) -> Afterwards {
        let worker = self.worker;
        self.counted.enter(ConnectionState::Writing);
        self.served += 1;
        let table = worker.table();
        let mut record = Record::new(started);
        let keep_alive = self.served < worker.config.keep_alive_requests && !worker.config.keep_alive.is_zero();

        let mut begun = {
            let storage = worker.request.borrow();
            let view = storage.view(self.client.inbox.bytes());
            request::begin(worker, &table, view, self.caller, keep_alive, &mut record)
        };
        let sent_before = self.client.outbox.written();
        self.client.begin(length, begun.asked, begun.framing, begun.coding, begun.expects_continue, begun.body_limit);

        // By reference all along: what is moved into a future takes its room there twice.
        let afterwards = match &mut begun.then {
            Then::Redirect { status, location } => {
                record.status = *status;
                self.redirect(*status, location, begun.asked, keep_alive).await
            }
            Then::Refuse(refusal) => {
                self.refuse(*refusal, begun.asked, &begun.request_id, keep_alive, &mut record).await
            }
            Then::Forward(job, outbox) => {
                let idle = job.policy.timeouts.read;
                match forward(worker, &mut self.client, &self.timer, job, outbox, &mut record).await {
                    Outcome::Answered if self.client.keep_alive() && self.client.is_complete() => Afterwards::Keep,
                    Outcome::Answered => Afterwards::Linger,
                    Outcome::Refused(refusal) => {
                        self.refuse(refusal, begun.asked, &begun.request_id, keep_alive, &mut record).await
                    }
                    // An end would be taken for the end of the answer.
                    Outcome::Truncated if self.client.ends_with_connection() => Afterwards::Reset,
                    Outcome::Truncated => Afterwards::Close,
                    Outcome::Gone => {
                        if record.status == 0 {
                            record.status = CLIENT_CLOSED_REQUEST;
                        }
                        Afterwards::Close
                    }
                    Outcome::Switched(mut remains, lease) => {
                        let _tunnel = worker.tunnels.enter();
                        let from_client = std::mem::take(&mut self.client.inbox);
                        let from_endpoint = std::mem::take(&mut remains.inbox);
                        let (stream, endpoint) = (&mut self.client.stream, &mut remains.stream);
                        let through = Box::pin(tunnel(stream, from_client, endpoint, from_endpoint, &self.timer, idle));
                        let through = through.await;
                        drop(lease);
                        record.tunnelled(through.received, through.sent);
                        Afterwards::Close
                    }
                }
            }
        };
        record.request_bytes += length as u64 + self.client.body_received();
        let sent = self.client.outbox.written() - sent_before;
        record.sent_bytes += sent;
        record.body_bytes += sent.saturating_sub(self.client.head_sent());
        record.finish(worker, self.caller.address, &table);
        afterwards
    }

    /// Refuses bytes that are no request.
    async fn refuse_bytes(&mut self, refusal: Refusal, started: Instant) -> Afterwards {
        let worker = self.worker;
        let mut record = Record::new(started);
        let request_id = RequestId::from(worker.random_id());
        if worker.log.borrow().is_on() {
            record.notes = Some(Notes::raw(self.client.inbox.bytes(), &request_id));
        }
        record.request_bytes = self.client.inbox.len() as u64;
        let length = self.client.inbox.len();
        let speaks_http = self.served > 0 || names_http(self.client.inbox.bytes());
        let asked = Asked { hsts: worker.hsts(self.caller), ..Asked::default() };
        self.client.begin(length, asked, Framing::None, Coding::Pass, false, 0);
        let sent_before = self.client.outbox.written();
        let afterwards = if speaks_http {
            self.refuse(refusal, asked, &request_id, false, &mut record).await
        } else {
            // An answer would be as strange to the client as its words are to us (RFC 9113, 3.4, wants none).
            record.status = refusal.status();
            record.refusal = Some(refusal);
            Afterwards::Linger
        };
        record.sent_bytes = self.client.outbox.written() - sent_before;
        record.body_bytes = record.sent_bytes.saturating_sub(self.client.head_sent());
        record.finish(worker, self.caller.address, &worker.table());
        afterwards
    }

    /// Tells the client that its request cannot be served.
    async fn refuse(
        &mut self,
        refusal: Refusal,
        asked: Asked,
        request_id: &RequestId,
        keep_alive: bool,
        record: &mut Record<'_>,
    ) -> Afterwards {
        record.status = refusal.status();
        record.refusal = Some(refusal);
        let worker = self.worker;
        let keep_alive = self.may_keep() && keep_alive;
        let out = self.client.outbox.head();
        let before = out.len();
        let keep_alive = write_refusal(refusal, asked, request_id, &worker.date(), keep_alive, out);
        let written = &self.client.outbox.head()[before..];
        let head = memchr::memmem::find(written, b"\r\n\r\n").map_or(written.len(), |at| at + 4);
        self.client.answered(head, keep_alive);
        self.finish_answer().await
    }

    /// Sends the client elsewhere.
    async fn redirect(&mut self, status: u16, location: &[u8], asked: Asked, keep_alive: bool) -> Afterwards {
        let keep_alive = self.may_keep() && keep_alive;
        let date = self.worker.date();
        let fields: [(&[u8], &[u8]); 2] = [(b"Date", &date), (b"Location", location)];
        let out = self.client.outbox.head();
        let before = out.len();
        let keep_alive = write_answer(&Answer { status, fields: &fields, body: b"" }, asked, keep_alive, out);
        let head = out.len() - before;
        self.client.answered(head, keep_alive);
        self.finish_answer().await
    }

    /// Whether the connection may live on after an answer of our own: only where no more of a body can come.
    fn may_keep(&mut self) -> bool {
        // What is at hand of the body is passed over; for the rest, nobody waits.
        while let Ok(ready) = self.client.ready()
            && !ready.is_empty()
        {
            let count = ready.len();
            self.client.consume(count);
        }
        self.client.is_complete() && !self.worker.shared.drain.is_draining()
    }

    /// Sends an answer of our own.
    async fn finish_answer(&mut self) -> Afterwards {
        let (client, timer) = (&mut self.client, &self.timer);
        timer.set(self.worker.config.write_timeout);
        let sent = until_fired(timer, poll_fn(|cx| client.poll_finish(cx, b""))).await;
        match sent {
            Some(Ok(_)) if client.keep_alive() => Afterwards::Keep,
            Some(Ok(_)) => Afterwards::Linger,
            Some(Err(_)) | None => Afterwards::Close,
        }
    }
}

/// Whether these bytes are not yet a request's. Old clients send an empty line after a body, which begins no other
/// request (RFC 9112, 2.2).
fn begins_nothing(bytes: &[u8], is_first: bool) -> bool {
    bytes.is_empty() || !is_first && matches!(bytes, b"\r" | b"\r\n" | b"\r\n\r" | b"\r\n\r\n")
}

/// The reading of a head.
struct Reading {
    /// When its first byte was there.
    started: Option<Instant>,
    /// How many bytes have been looked at for line ends.
    read: usize,
    /// How many bytes there were when the head was last looked at.
    looked_at: usize,
}

// === impl Reading ===

impl Reading {
    /// Whether the head may be complete, or wrong, now that there are more bytes.
    ///
    /// A head that drips in byte by byte must not be read from its start for each.
    fn is_worth_a_look(&mut self, inbox: &Buffer) -> bool {
        let bytes = inbox.bytes();
        let has_line_end = memchr::memchr(b'\n', &bytes[self.read..]).is_some();
        self.read = bytes.len();
        let worth = has_line_end || bytes.len() >= 2 * self.looked_at;
        if worth {
            self.looked_at = bytes.len();
        }
        worth
    }
}
