//! Clients that send frames of HTTP/2 for what they cost us.
//!
//! What is held of each: the connection ends, or the stream does; it is counted where it was a flood; the endpoint has
//! only so much to do at once; and another client is served meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::harness::*;
use crate::http::relay::PREFACE;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const REFUSED_STREAM: u32 = 7;
const CALM: u32 = 11;

/// How many frames a flood has: more than any limit allows.
const FLOOD: usize = 100_000;

/// Makes the frames of a flood, one after the other.
type Flood = fn(u32) -> Vec<u8>;

/// What a client was told before its connection ended.
#[derive(Debug, Default)]
struct Told {
    /// The streams that had the head of an answer, or were reset.
    answered: usize,
    resets: Vec<u32>,
    /// The reason of the last GOAWAY.
    goaway: Option<u32>,
    /// Whether the connection was ended before all was sent.
    cut: bool,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A field as a literal without indexing.
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap();
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// `:method: GET`, `:scheme: http`, `:path: /` and the authority.
fn get() -> Vec<u8> {
    [vec![0x82, 0x86, 0x84], field(":authority", "shop.example")].concat()
}

/// A client that speaks frames.
fn client(gateway: &Gateway) -> Line {
    let mut line = Line::new(std::net::TcpStream::connect(gateway.plain_address).unwrap());
    line.send([&PREFACE[..], &frame(SETTINGS, 0, 0, b"")].concat());
    line
}

/// Sends a flood from a thread of its own, and reads what comes until the connection ends.
fn flood(gateway: &Gateway, frames: impl FnMut(u32) -> Vec<u8> + Send + 'static) -> Told {
    let mut line = client(gateway);
    let mut sending = Line::over(line.stream.try_clone().unwrap());
    let sender = std::thread::spawn(move || {
        let mut frames = frames;
        // In pieces, so that none of it waits for the rest to be made. Who was ended cannot send more.
        for piece in 0..FLOOD as u32 / 100 {
            let bytes: Vec<_> = (0..100).flat_map(|at| frames(piece * 100 + at)).collect();
            if std::io::Write::write_all(&mut sending.stream, &bytes).is_err() {
                return true;
            }
        }
        false
    });
    let told = told(&line.rest());
    Told { cut: sender.join().unwrap(), ..told }
}

impl Told {
    /// Whether the connection was ended, and for this reason, as far as one came: who goes on sending may be told by the
    /// kernel first, and what was sent to it before is then lost.
    fn was_ended_by(&self, reason: u32) -> bool {
        self.goaway.map_or(self.cut, |told| told == reason)
    }
}

/// What frames tell.
fn told(mut bytes: &[u8]) -> Told {
    let mut told = Told::default();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(payload) = rest.get(..length) else { break };
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match *kind {
            HEADERS => told.answered += 1,
            RESET => told.resets.push(number(0)),
            GOAWAY if number(4) != 0 => told.goaway = Some(number(4)),
            _ => {}
        }
        bytes = &rest[length..];
    }
    told
}

/// An endpoint that never answers, and counts what it has to do: now, at most at once, and in all.
struct Busy {
    endpoint: Endpoint,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Busy {
    fn new() -> Self {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (inside, peak) = (Arc::clone(&now), Arc::clone(&most));
        let endpoint = Endpoint::run(move |_, mut line| {
            while let Some(head) = line.read_head() {
                if head.contains("innocent") {
                    line.send(OK);
                    continue;
                }
                peak.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                line.is_closed();
                inside.fetch_sub(1, SeqCst);
            }
        });
        Self { endpoint, now, most }
    }
}

/// Holds the gateway to serving others, over either protocol.
fn others_are_served(gateway: &Gateway) {
    assert_eq!(gateway.get("/innocent").status(), 200);
    let mut line = client(gateway);
    let head = [vec![0x82, 0x86], field(":path", "/innocent"), field(":authority", "shop.example")].concat();
    line.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &head));
    line.send(frame(GOAWAY, 0, 0, &[0; 8]));
    assert_eq!(told(&line.rest()).answered, 1);
}

fn floods(gateway: &Gateway) -> u64 {
    gateway.metric("serin_http2_floods_total")
}

#[test]
fn requests_that_are_taken_back_at_once_end_the_connection() {
    // CVE-2023-44487
    let busy = Busy::new();
    let gateway = Gateway::to(&[&busy.endpoint]);
    let told = flood(&gateway, |at| {
        let stream = at * 2 + 1;
        [frame(HEADERS, END_STREAM | END_HEADERS, stream, &get()), frame(RESET, 0, stream, &[0, 0, 0, 8])].concat()
    });
    assert!(told.was_ended_by(CALM), "{told:?}");
    assert_eq!(floods(&gateway), 1);
    let most = busy.most.load(SeqCst);
    assert!(most <= 128, "{most} requests at once");
    assert!(busy.endpoint.accepted() <= 400, "{} requests reached the endpoint", busy.endpoint.accepted());
    wait_until("the endpoint is left with nothing", || busy.now.load(SeqCst) == 0);
    others_are_served(&gateway);
}

#[test]
fn a_request_that_is_taken_back_before_it_is_served_reaches_no_endpoint() {
    const FEW: u32 = 15;
    let busy = Busy::new();
    let gateway = Gateway::to(&[&busy.endpoint]);
    let mut line = client(&gateway);
    let pair = |at: u32| {
        let stream = at * 2 + 1;
        [frame(HEADERS, END_STREAM | END_HEADERS, stream, &get()), frame(RESET, 0, stream, &[0, 0, 0, 8])].concat()
    };
    line.send((0..FEW).flat_map(pair).collect::<Vec<_>>());
    wait_until("all are counted", || gateway.metric("nginx_ingress_controller_nginx_process_requests_total") == u64::from(FEW));
    assert_eq!(busy.endpoint.accepted(), 0);
    others_are_served(&gateway);
}

#[test]
fn resets_that_the_client_provokes_end_the_connection() {
    // CVE-2025-8671: the stream breaks a rule when its request is under way, and we are the ones who reset it.
    let provocations: &[(&str, Flood)] = &[
        ("a window that grows by nothing", |stream| frame(WINDOW, 0, stream, &[0; 4])),
        ("a window that overflows", |stream| frame(WINDOW, 0, stream, &[0x7f, 0xff, 0xff, 0xff])),
        ("data behind the end", |stream| frame(DATA, 0, stream, b"x")),
        ("a stream that depends on itself", |stream| {
            frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[1]].concat())
        }),
    ];
    for &(what, provocation) in provocations {
        let busy = Busy::new();
        let gateway = Gateway::to(&[&busy.endpoint]);
        let told = flood(&gateway, move |at| {
            let stream = at * 2 + 1;
            [frame(HEADERS, END_STREAM | END_HEADERS, stream, &get()), provocation(stream)].concat()
        });
        assert!(told.goaway.is_some() || told.cut, "{what}: {told:?}");
        assert!(told.resets.len() <= 100, "{what}: {} resets", told.resets.len());
        assert!(busy.endpoint.accepted() <= 300, "{what}: {} requests", busy.endpoint.accepted());
        let most = busy.most.load(SeqCst);
        assert!(most <= 128, "{what}: {most} requests at once");
        wait_until("the endpoint is left with nothing", || busy.now.load(SeqCst) == 0);
        others_are_served(&gateway);
    }
}

#[test]
fn frames_that_carry_nothing_end_the_connection() {
    let other: &[(&str, Flood)] = &[
        ("PING", |_| frame(PING, 0, 0, &[0; 8])),
        ("answers to no PING", |_| frame(PING, 1, 0, &[0; 8])),
        ("SETTINGS", |_| frame(SETTINGS, 0, 0, b"")),
        ("PRIORITY", |at| frame(PRIORITY, 0, at * 2 + 1, &[0, 0, 0, 0, 1])),
        ("windows of the connection", |_| frame(WINDOW, 0, 0, &[0, 0, 0, 1])),
        ("frames of no known type", |_| frame(99, 0, 0, b"")),
    ];
    for &(what, other) in other {
        let gateway = Gateway::to(&[&Endpoint::ok()]);
        let told = flood(&gateway, other);
        assert!(told.was_ended_by(CALM), "{what}: {told:?}");
        assert_eq!(floods(&gateway), 1, "{what}");
        others_are_served(&gateway);
    }
}

#[test]
fn frames_that_carry_next_to_nothing_on_a_stream_end_the_connection() {
    let open = |at, of: Vec<u8>| if at == 0 { [frame(HEADERS, END_HEADERS, 1, &get()), of].concat() } else { of };
    let kinds: &[(&str, Flood)] = &[
        ("empty DATA", |_| frame(DATA, 0, 1, b"")),
        ("windows of the stream", |_| frame(WINDOW, 0, 1, &[0, 0, 0, 1])),
        ("DATA of one byte that waits", |_| frame(DATA, 0, 1, b"x")),
    ];
    for &(what, flood_of) in kinds {
        let busy = Busy::new();
        let gateway = Gateway::to(&[&busy.endpoint]);
        let told = flood(&gateway, move |at| open(at, flood_of(at)));
        assert!(told.goaway.is_some() || told.cut, "{what}: {told:?}");
        assert_eq!(floods(&gateway), 1, "{what}");
        others_are_served(&gateway);
    }
}

#[test]
fn a_head_that_does_not_end_ends_the_connection() {
    // CVE-2024-27316 and its kind.
    let continuations: &[(&str, Flood)] = &[
        ("empty", |_| frame(CONTINUATION, 0, 1, b"")),
        ("small", |_| frame(CONTINUATION, 0, 1, &field("x", "y"))),
        ("large", |_| frame(CONTINUATION, 0, 1, &field("x", &"y".repeat(126)).repeat(100))),
    ];
    for &(what, continuation) in continuations {
        let gateway = Gateway::to(&[&Endpoint::ok()]);
        let told =
            flood(&gateway, move |at| if at == 0 { frame(HEADERS, END_STREAM, 1, &get()) } else { continuation(at) });
        assert!(told.was_ended_by(CALM), "{what}: {told:?}");
        assert_eq!(floods(&gateway), 1, "{what}");
        others_are_served(&gateway);
    }
}

#[test]
fn a_head_larger_than_allowed_is_refused_however_small_it_came() {
    // A field of 4 KB in the table, and then its index again and again: a byte each.
    let gateway = Gateway::to(&[&Endpoint::ok()]);
    let mut bomb = get();
    bomb.extend([0x40, 1, b'x', 0x7f, 0x81, 0x1e]);
    bomb.extend(vec![b'y'; 0x7f + 0x81 - 0x80 + (0x1e << 7)]);
    let mut line = client(&gateway);
    let small = [&bomb[..], &[0xbe; 20]].concat();
    line.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &small));
    line.send(frame(GOAWAY, 0, 0, &[0; 8]));
    let refused = told(&line.rest());
    assert_eq!((refused.answered, refused.goaway), (1, None), "over the limit: 431");

    let told = flood(&gateway, move |at| {
        let block = if at == 0 { [&bomb[..], &[0xbe; 10_000]].concat() } else { [get(), vec![0xbe; 10_000]].concat() };
        frame(HEADERS, END_STREAM | END_HEADERS, at * 2 + 1, &block)
    });
    assert!(told.was_ended_by(CALM), "far over it: {told:?}");
    others_are_served(&gateway);
}

#[test]
fn streams_over_the_limit_are_refused_and_the_others_served() {
    let busy = Busy::new();
    let gateway = Gateway::to(&[&busy.endpoint]);
    let mut line = client(&gateway);
    for at in 0..200 {
        line.send(frame(HEADERS, END_STREAM | END_HEADERS, at * 2 + 1, &get()));
    }
    wait_until("as many as allowed are served", || busy.now.load(SeqCst) == 128);
    line.send(frame(GOAWAY, 0, 0, &[0; 8]));
    pause(std::time::Duration::from_millis(50));
    others_are_served(&gateway);
    assert_eq!(busy.most.load(SeqCst), 128);
    let streams = line.stream.try_clone().unwrap();
    streams.shutdown();
    let told = told(&line.rest());
    assert_eq!(told.resets.iter().filter(|reason| **reason == REFUSED_STREAM).count(), 72, "{told:?}");
    wait_until("the endpoint is left with nothing", || busy.now.load(SeqCst) == 0);
}

#[test]
fn windows_that_make_no_sense_end_the_stream_or_the_connection() {
    let gateway = Gateway::to(&[&Endpoint::ok()]);
    for (what, frames, expected) in [
        ("of the connection, by nothing", frame(WINDOW, 0, 0, &[0; 4]), PROTOCOL_ERROR),
        ("of the connection, too large", frame(WINDOW, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), FLOW_CONTROL_ERROR),
        ("of a stream that is not there", frame(WINDOW, 0, 1, &[0, 0, 0, 1]), PROTOCOL_ERROR),
        ("at first, too large", frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]), PROTOCOL_ERROR),
    ] {
        let mut line = client(&gateway);
        line.send(frames);
        assert_eq!(told(&line.rest()).goaway, Some(expected), "{what}");
    }
    others_are_served(&gateway);
}

#[test]
fn answers_that_are_not_taken_pile_up_only_so_far() {
    // An endpoint that sends without end, to a client whose window is closed.
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let endpoint = Endpoint::run(move |_, mut line| {
        let Some(head) = line.read_head() else { return };
        if head.contains("innocent") {
            return line.send(OK);
        }
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        while std::io::Write::write_all(&mut line.stream, &[0; 4096]).is_ok() {
            counter.fetch_add(4096, SeqCst);
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = client(&gateway);
    line.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    const STREAMS: u32 = 30;
    for at in 0..STREAMS {
        line.send(frame(HEADERS, END_STREAM | END_HEADERS, at * 2 + 1, &get()));
    }
    wait_until("they are served", || endpoint.accepted() == STREAMS as usize);
    let mut before = 0;
    wait_until("the endpoint waits", || {
        pause(std::time::Duration::from_millis(100));
        std::mem::replace(&mut before, sent.load(SeqCst)) == sent.load(SeqCst)
    });
    others_are_served(&gateway);
    assert!(gateway.metric("serin_http2_floods_total") == 0, "it is slow, not a flood");
    drop(line);
    wait_until("the endpoint is rid of it", || endpoint.ended() >= STREAMS as usize);
}

#[test]
fn streams_that_are_left_half_open_hold_the_endpoint_no_longer_than_bodies_may_take() {
    let config = crate::proxy::Config {
        body_timeout: std::time::Duration::from_millis(200),
        keep_alive: std::time::Duration::from_millis(500),
        ..crate::proxy::Config::default()
    };
    let busy = Busy::new();
    let gateway = Gateway::with_config(config, &[&busy.endpoint]);
    let mut line = client(&gateway);
    let post = [vec![0x83, 0x86, 0x84], field(":authority", "shop.example")].concat();
    for at in 0..100 {
        line.send(frame(HEADERS, END_HEADERS, at * 2 + 1, &post));
    }
    wait_until("the endpoint has them", || busy.endpoint.accepted() == 100);
    others_are_served(&gateway);
    wait_until("the endpoint is rid of them", || busy.now.load(SeqCst) == 0);
    assert_eq!(told(&line.rest()).answered, 100, "each is told");
}
