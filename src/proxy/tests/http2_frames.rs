//! Frames as they are on the wire, byte by byte.

use std::{
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use super::harness::*;
use crate::{http::relay::PREFACE, lifecycle::Phase, proxy::Config};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A `GET /` for `shop.example`: three fields of the static table, and a literal.
const GET: &[u8] = b"\x82\x86\x84\x41\x0cshop.example";

/// A connection on which frames are read and written.
struct Frames(Line);

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    content: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let mut frame = (content.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(content);
    frame
}

impl Frames {
    /// Sends the preface, and acknowledges the gateway's settings.
    fn to(gateway: &Gateway) -> Self {
        let mut line = gateway.connect();
        line.send([&PREFACE[..], &frame(SETTINGS, 0, 0, b"")].concat());
        let mut frames = Self(line);
        assert_eq!(frames.next(&[SETTINGS]).flags, 0);
        frames.send(SETTINGS, ACK, 0, b"");
        frames
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, content: &[u8]) {
        self.0.send(frame(kind, flags, stream, content));
    }

    /// The next frame of one of these kinds.
    fn next(&mut self, kinds: &[u8]) -> Frame {
        loop {
            let head = self.0.take(9);
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let content = self.0.take(length as usize);
            if kinds.contains(&head[3]) {
                return Frame { kind: head[3], flags: head[4], stream, content };
            }
        }
    }

    /// The last stream of a GOAWAY that blames nobody.
    fn goaway(&mut self) -> u32 {
        let frame = self.next(&[GOAWAY]);
        assert_eq!(frame.content[4..8], [0; 4], "{frame:?}");
        u32::from_be_bytes(frame.content[..4].try_into().unwrap())
    }
}

#[test]
fn a_drain_says_so_then_waits_for_what_was_sent_meanwhile_and_for_what_is_in_flight() {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let endpoint = Endpoint::run(move |_, mut line| {
        while line.read().is_some() {
            let _ = told.lock().unwrap().recv();
            line.send(OK);
        }
    });
    let mut gateway = Gateway::to(&[&endpoint]);
    let mut frames = Frames::to(&gateway);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, GET);
    wait_until("the endpoint has it", || endpoint.seen().len() == 1);

    gateway.drainer.advance(Phase::Closing);
    assert_eq!(frames.goaway(), u32::MAX >> 1, "first, nothing is refused");
    // This one is on its way when the client hears of the end.
    frames.send(HEADERS, END_STREAM | END_HEADERS, 3, GET);
    let ping = frames.next(&[PING]);
    frames.send(PING, ACK, 0, &ping.content);
    assert_eq!(frames.goaway(), 3, "then the last that is served is named");
    wait_until("both are served", || endpoint.seen().len() == 2);
    tell.send(()).unwrap();
    tell.send(()).unwrap();
    let mut ended = Vec::new();
    while ended.len() < 2 {
        let frame = frames.next(&[DATA]);
        assert!(frame.content == b"ok" || frame.content.is_empty(), "{frame:?}");
        ended.extend((frame.flags & END_STREAM > 0).then_some(frame.stream));
    }
    ended.sort_unstable();
    assert_eq!(ended, [1, 3]);
    assert!(frames.0.is_closed());
    gateway.join();
}

#[test]
fn a_client_that_does_not_listen_does_not_hold_up_the_end() {
    let mut gateway = Gateway::to(&[]);
    let mut frames = Frames::to(&gateway);
    gateway.drainer.advance(Phase::Closing);
    frames.goaway();
    let begin = Instant::now();
    gateway.join();
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

#[test]
fn an_idle_connection_is_told_of_its_end() {
    let config = Config { keep_alive: Duration::from_millis(300), ..Config::default() };
    let gateway = Gateway::with_config(config, &[&Endpoint::ok()]);
    let mut frames = Frames::to(&gateway);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, GET);
    assert_eq!(frames.next(&[DATA]).content, b"ok");
    assert_eq!(frames.goaway(), u32::MAX >> 1);
    let ping = frames.next(&[PING]);
    frames.send(PING, ACK, 0, &ping.content);
    assert_eq!(frames.goaway(), 1);
    assert!(frames.0.is_closed());
}

#[test]
fn a_preface_in_pieces_is_one() {
    let gateway = Gateway::to(&[&Endpoint::ok()]);
    let mut line = gateway.connect();
    let bytes = [&PREFACE[..], &frame(SETTINGS, 0, 0, b""), &frame(HEADERS, END_STREAM | END_HEADERS, 1, GET)].concat();
    for byte in bytes {
        line.send([byte]);
    }
    let mut frames = Frames(line);
    assert_eq!(frames.next(&[HEADERS]).stream, 1);
    assert_eq!(frames.next(&[DATA]).content, b"ok");
}

#[test]
fn both_versions_are_spoken_on_a_port_and_a_short_request_is_answered_at_once() {
    let gateway = Gateway::to(&[&Endpoint::ok()]);
    let mut frames = Frames::to(&gateway);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, GET);
    assert_eq!(frames.next(&[HEADERS]).stream, 1);
    assert_eq!(gateway.get("/").text(), "ok");
    let begin = Instant::now();
    let mut line = gateway.connect();
    // Shorter than the preface: nothing may wait for more.
    line.send("GET / HTTP/1.0\r\n\r\n");
    assert!(line.read_head().unwrap().starts_with("HTTP/1.1 "));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn windows_that_change_midway_are_kept_to() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        line.send([b'x'; 1000]);
        line.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut frames = Frames::to(&gateway);
    let window = |size: u32| [&[0, 4], &size.to_be_bytes()[..]].concat();
    frames.send(SETTINGS, 0, 0, &window(10));
    assert_eq!(frames.next(&[SETTINGS]).flags, ACK);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, GET);
    assert_eq!(frames.next(&[DATA]).content.len(), 10);
    // Smaller: what was sent already is owed. Then larger, by what is owed and some more.
    frames.send(SETTINGS, 0, 0, &window(0));
    assert_eq!(frames.next(&[SETTINGS, DATA]).kind, SETTINGS);
    frames.send(SETTINGS, 0, 0, &window(100));
    let mut got = 10;
    while got < 100 {
        got += frames.next(&[DATA]).content.len();
    }
    assert_eq!(got, 100);
    frames.send(SETTINGS, 0, 0, &window(5000));
    while got < 1000 {
        got += frames.next(&[DATA]).content.len();
    }
}
