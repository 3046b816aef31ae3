//! A client's HTTP/2 connection, and its streams.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Poll, ready},
    time::{Duration, Instant},
};

use ::h2::{
    Reason, RecvStream,
    server::{Builder, Connection, SendResponse},
};
use ::http::Request;
use bytes::Bytes;
use tokio::task::yield_now;
use tracing::debug;

use super::{
    body::{Inflow, Sender},
    downstream::Client,
    gather::{Seal, gather},
    guard::{Guarded, Verdict},
    head,
};
use crate::{
    http::{Answer, Asked, Framing, Refusal, Version, write_answer, write_refusal},
    metrics::{Connection as Counted, ConnectionState, Count},
    proxy::{
        RoutingTable, Stream,
        accept::isolated,
        buffer::{self, Buffer, Size},
        caller::Caller,
        connect::Connect,
        forward::{Outcome, forward},
        linger,
        record::{CLIENT_CLOSED_REQUEST, Notes, Record},
        request::{self, RequestId, Then},
        seam::{Downstream, Sink, Source},
        timer::{Timer, until_fired},
        tunnel::tunnel,
        worker::Worker,
    },
};

/// How many requests of a connection are served at once, as ingress-nginx has it.
const STREAMS: u32 = 128;
/// How many bytes of a request's body may wait here, and of all bodies of a connection. A client that sends more bodies
/// than that, to endpoints that do not take them, waits for itself.
const WINDOW: u32 = 64 << 10;
const WINDOWS: u32 = 1 << 20;
/// How many bytes of an answer may wait for the client.
const WAITING: usize = 64 << 10;
/// How many bytes the fields of a request may have, with the 32 that HTTP/2 adds for each: no less than what the reader
/// of heads takes.
const FIELDS: u32 = 64 << 10;
/// How many streams of a connection may break the protocol so that we have to reset them: a request that makes us do that
/// is as cheap to send as one that is taken back (CVE-2025-8671), and no client that is in order makes one.
const BROKEN: usize = 100;
/// How long a client may take to leave once it was told to and has no stream.
const LEAVING: Duration = Duration::from_secs(5);

/// How many bytes are taken at most of a body that nobody wants.
const UNWANTED: u64 = 4 << 20;

/// A client's connection and what its streams have in common.
struct Shared<C: Connect> {
    worker: Rc<Worker<C>>,
    caller: Caller,
    /// How many streams are served.
    open: Cell<usize>,
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// The client was told to make no more requests.
    Leaving,
}

/// Serves a connection whose first bytes, the preface's, may be in `before`.
pub(crate) async fn serve<C: Connect>(
    worker: &Rc<Worker<C>>,
    caller: Caller,
    stream: Stream,
    before: Buffer,
    counted: &Counted,
) {
    let timer = worker.clock.timer();
    timer.wake_this_task().await;
    timer.set(worker.config.header_timeout);
    counted.enter(ConnectionState::Reading);
    let seal = stream.is_tls().then_some(Stream::seal as Seal<Stream>);
    let (stream, outlet) = gather(stream, seal);
    let (stream, verdict) = Guarded::new(stream, before);
    let begun = {
        let mut handshake = pin!(settings().handshake(stream));
        let turns = poll_fn(|cx| {
            let turn = handshake.as_mut().poll(cx);
            outlet.end_turn(cx, turn)
        });
        until_fired(&timer, turns).await
    };
    let Some(Some(Ok(mut connection))) = begun else { return };

    let shared = Rc::new(Shared { worker: Rc::clone(worker), caller, open: Cell::new(0) });
    let mut draining = pin!(worker.shared.drain.started());
    let mut phase = Phase::Serving;
    let (mut served, mut flooded) = (0, false);
    let mut pause = pin!(None);
    let leave = |connection: &mut Connection<_, _>, phase: &mut Phase| {
        connection.graceful_shutdown();
        *phase = Phase::Leaving;
        timer.set(LEAVING);
    };
    timer.set(worker.config.keep_alive);
    poll_fn(|cx| {
        loop {
            if phase == Phase::Serving && draining.as_mut().poll(cx).is_ready() {
                leave(&mut connection, &mut phase);
            }
            if timer.has_fired() {
                match (shared.open.get(), phase) {
                    (1.., Phase::Serving) => timer.set(worker.config.keep_alive),
                    (1.., Phase::Leaving) => timer.set(LEAVING),
                    (0, Phase::Serving) => leave(&mut connection, &mut phase),
                    (0, Phase::Leaving) => return Poll::Ready(Some(())),
                }
            }
            let busy = shared.open.get() > 0;
            counted.enter(if busy { ConnectionState::Writing } else { ConnectionState::Waiting });
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    served += 1;
                    timer.set(if phase == Phase::Serving { worker.config.keep_alive } else { LEAVING });
                    if served == worker.config.keep_alive_requests {
                        leave(&mut connection, &mut phase);
                    }
                    start(&shared, request, respond);
                }
                Poll::Ready(Some(Err(error))) => {
                    // The crate has limits of its own.
                    if !error.is_remote() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) && !flooded {
                        worker.meters.count(Count::Floods);
                    }
                    debug!(client = %shared.caller.address, %error, "a client's connection has ended");
                    return Poll::Ready(Some(()));
                }
                Poll::Ready(None) => return Poll::Ready(Some(())),
                Poll::Pending if verdict.replace(Verdict::Fine) == Verdict::Floods => {
                    flooded = true;
                    worker.meters.count(Count::Floods);
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                }
                Poll::Pending => {
                    // Where others are being served, their answers may come with the next look at the sockets, and leave
                    // together with what there is.
                    if pause.is_none() && shared.open.get() > 1 && !outlet.is_empty() {
                        pause.set(Some(yield_now()));
                    }
                    if let Some(pause) = pause.as_mut().as_pin_mut() {
                        ready!(pause.poll(cx));
                    }
                    pause.set(None);
                    return outlet.end_turn(cx, Poll::Pending);
                }
            }
        }
    })
    .await;
}

fn settings() -> Builder {
    let mut settings = Builder::new();
    settings
        .max_concurrent_streams(STREAMS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS)
        .max_header_list_size(FIELDS)
        .max_send_buffer_size(WAITING)
        .max_local_error_reset_streams(Some(BROKEN))
        .enable_connect_protocol();
    settings
}

/// Starts to serve a stream, in a task of its own.
fn start<C: Connect>(shared: &Rc<Shared<C>>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    shared.open.set(shared.open.get() + 1);
    let shared = Rc::clone(shared);
    let mut stream = Some((request, respond));
    // Boxed, since a task is copied as a whole three times before it begins, and three times when it ends.
    tokio::task::spawn_local(Box::pin(async move {
        let _open = Open(&shared.open);
        let serving = pin!(one(&shared.worker, &shared.caller, &mut stream));
        isolated(&shared.worker, shared.caller.address, serving).await;
    }));
}

/// Counts a stream as open.
struct Open<'c>(&'c Cell<usize>);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A stream whose request was read.
struct Opened<'t> {
    client: Client,
    request_id: RequestId,
    then: Then<'t>,
}

/// Reads the request of a stream, and decides on it.
fn open<'t, C: Connect>(
    worker: &Worker<C>,
    caller: &Caller,
    table: &'t RoutingTable,
    (request, respond): (Request<RecvStream>, SendResponse<Bytes>),
    record: &mut Record<'t>,
) -> Opened<'t> {
    let (parts, body) = request.into_parts();
    let inflow = Inflow::new(body, Sender::Client, u64::MAX);
    let mut head = buffer::take_out();
    // A nonce of HTTP/1's handshake, which frames do not have: 16 bytes in base64.
    let mut nonce = *b"AAAAAAAAAAAAAAAAAAAAAA==";
    nonce[..21].copy_from_slice(&worker.random_id()[..21]);
    let begun = head::write_request(&parts, &nonce, inflow.is_complete(), &mut head).and_then(|()| {
        let length = worker.request.borrow_mut().read_relayed(&head, &worker.config.head)?;
        let storage = worker.request.borrow();
        record.request_bytes = length as u64;
        Ok(request::begin(worker, table, storage.view(&head), caller, true, record))
    });
    let mut client = Client::new(respond, inflow);
    let (request_id, then) = match begun {
        Ok(begun) => {
            client.begin(begun.asked, begun.framing, begun.expects_continue, begun.body_limit);
            (begun.request_id, begun.then)
        }
        Err(refusal) => {
            let asked = Asked { hsts: worker.hsts(caller), version: Version::Http2, ..Asked::default() };
            client.begin(asked, Framing::None, false, 0);
            let id = RequestId::from(worker.random_id());
            if worker.log.borrow().is_on() {
                record.notes = Some(Notes::raw(&head, &id));
            }
            (id, Then::Refuse(refusal))
        }
    };
    buffer::give_out(head);
    Opened { client, request_id, then }
}

/// Serves a stream, which is taken by reference: what is moved into a future takes its room there for good.
async fn one<C: Connect>(
    worker: &Worker<C>,
    caller: &Caller,
    stream: &mut Option<(Request<RecvStream>, SendResponse<Bytes>)>,
) {
    let started = Instant::now();
    let timer = worker.clock.timer();
    timer.wake_this_task().await;
    let table = worker.table();
    let mut record = Record::new(started);
    let Some(stream) = stream.take() else { return };
    let Opened { mut client, request_id, mut then } = open(worker, caller, &table, stream, &mut record);

    let has_left = poll_fn(|cx| Poll::Ready(client.poll_gone(cx).is_ready())).await;
    let mut is_whole = !has_left;
    let refused = match &mut then {
        // Taken back as soon as it was sent: no endpoint is to hear of it (CVE-2023-44487).
        _ if has_left => {
            record.status = CLIENT_CLOSED_REQUEST;
            None
        }
        Then::Refuse(refusal) => Some(*refusal),
        Then::Redirect { status, location } => {
            record.status = *status;
            let date = worker.date();
            let fields: [(&[u8], &[u8]); 2] = [(b"Date", &date), (b"Location", location)];
            let mut answer = buffer::take_out();
            write_answer(&Answer { status: *status, fields: &fields, body: b"" }, client.asked(), true, &mut answer);
            answer_own(worker, &timer, &mut client, &answer).await;
            buffer::give_out(answer);
            None
        }
        Then::Forward(job, outbox) => {
            let idle = job.policy.timeouts.read;
            match forward(worker, &mut client, &timer, job, outbox, &mut record).await {
                Outcome::Answered => None,
                Outcome::Refused(refusal) => Some(refusal),
                Outcome::Truncated => {
                    client.reset();
                    is_whole = false;
                    None
                }
                Outcome::Gone => {
                    if record.status == 0 {
                        record.status = CLIENT_CLOSED_REQUEST;
                    }
                    is_whole = false;
                    None
                }
                Outcome::Switched(mut remains, lease) => {
                    let _tunnel = worker.tunnels.enter();
                    record.sent_bytes = client.head_sent();
                    if let Some(mut stream) = client.into_tunnel() {
                        let (from_client, from_endpoint) =
                            (Buffer::new(Size::Small), std::mem::take(&mut remains.inbox));
                        let endpoint = &mut remains.stream;
                        let through = tunnel(&mut stream, from_client, endpoint, from_endpoint, &timer, idle);
                        let through = Box::pin(through).await;
                        drop(lease);
                        record.tunnelled(through.received, through.sent);
                    }
                    record.finish(worker, caller.address, &table);
                    return;
                }
            }
        }
    };
    if let Some(refusal) = refused {
        refuse(worker, &timer, &mut client, refusal, &request_id, &mut record).await;
    }
    record.request_bytes += client.body_received();
    record.body_bytes = client.body_sent();
    record.sent_bytes = client.head_sent() + client.body_sent();
    record.finish(worker, caller.address, &table);
    if is_whole {
        swallow(&timer, &mut client).await;
    }
}

/// Takes what still comes of a body that nobody wants, for a while.
///
/// The stream is reset when it is let go, and there are clients to whom a reset is all that they see of an answer, as one
/// of a connection is over HTTP/1.
async fn swallow(timer: &Timer, client: &mut Client) {
    client.take_all();
    let most = client.body_received() + UNWANTED;
    timer.set(linger::QUIET);
    poll_fn(|cx| {
        while !client.is_complete() && client.body_received() < most && !timer.has_fired() {
            match client.ready().map(<[u8]>::len) {
                Ok(0) => match ready!(client.poll_read(cx)) {
                    Ok(()) => {}
                    Err(_) => return Poll::Ready(()),
                },
                Ok(count) => client.consume(count),
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// Tells the client that its request cannot be served.
async fn refuse<C: Connect>(
    worker: &Worker<C>,
    timer: &Timer,
    client: &mut Client,
    refusal: Refusal,
    request_id: &RequestId,
    record: &mut Record<'_>,
) {
    record.status = refusal.status();
    record.refusal = Some(refusal);
    let mut answer = buffer::take_out();
    write_refusal(refusal, client.asked(), request_id, &worker.date(), true, &mut answer);
    answer_own(worker, timer, client, &answer).await;
    buffer::give_out(answer);
}

/// Sends an answer of our own, which is written in the form of HTTP/1.
async fn answer_own<C: Connect>(worker: &Worker<C>, timer: &Timer, client: &mut Client, answer: &[u8]) {
    let mut body = client.answer_own(answer, &worker.response);
    timer.set(worker.config.write_timeout);
    let sending = poll_fn(|cx| {
        while !body.is_empty() {
            match client.poll_send(cx, body) {
                Poll::Ready(Ok(sent)) => body = &body[sent..],
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        client.poll_finish(cx, b"").map(|_| ())
    });
    until_fired(timer, sending).await;
}
