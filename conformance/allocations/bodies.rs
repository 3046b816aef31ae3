//! A body of 2 GiB passes in the memory of a few buffers, in either direction and however it is framed.
//!
//! Whoever takes a body is slow: its socket holds little, so that the gateway always has more than it can send.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::Ordering::Relaxed,
};

use serin::{
    http::{Body, Coding, Framing, Step},
    proxy::log::Format,
};
use socket2::SockRef;

use crate::{
    counting::{LIVE, PEAK},
    requests::{GET, Gateway, ONE_AT_A_TIME, endpoint, read_head},
};

/// The length of a body, without its framing.
const LONG: u64 = 2 << 30;

/// What is sent at once, and how long a chunk of it is.
const PIECE: usize = 1 << 20;
const CHUNK: usize = 40_000;

/// How much the socket of a slow reader holds, about: a few segments of the loopback device.
const NARROW: usize = 128 << 10;

#[test]
fn a_body_of_2_gib_comes_down_in_constant_memory() {
    let _alone = ONE_AT_A_TIME.lock();
    for (framing, reframed) in [
        (Framing::Length(LONG), Framing::Length(LONG)),
        (Framing::Chunked, Framing::Chunked),
        (Framing::UntilClose, Framing::Chunked),
    ] {
        let gateway = Gateway::to(sending(framing), Format::Off);
        let mut stream = gateway.connect();
        SockRef::from(&stream).set_recv_buffer_size(NARROW).unwrap();
        stream.write_all(GET.as_bytes()).unwrap();
        let (head, start) = read_head(&mut stream).unwrap();
        assert_eq!(head.contains("Transfer-Encoding: chunked"), reframed == Framing::Chunked, "{head}");
        read_long(&mut stream, start, reframed).unwrap();
        assert_constant(framing);
    }
}

#[test]
fn a_body_of_2_gib_goes_up_in_constant_memory() {
    let _alone = ONE_AT_A_TIME.lock();
    for framing in [Framing::Length(LONG), Framing::Chunked] {
        let gateway = Gateway::to(receiving(framing), Format::Off);
        let mut stream = gateway.connect();
        write!(stream, "PUT / HTTP/1.1\r\nHost: shop.example\r\n{}\r\n", field(framing)).unwrap();
        send_long(&mut stream, framing).unwrap();
        assert_eq!(read_head(&mut stream).unwrap().1, b"ok");
        assert_constant(framing);
    }
}

/// An endpoint that answers with a long body.
fn sending(framing: Framing) -> SocketAddr {
    endpoint(move |mut stream| {
        read_head(&mut stream)?;
        write!(stream, "HTTP/1.1 200 OK\r\n{}\r\n", field(framing))?;
        send_long(&mut stream, framing)
    })
}

/// An endpoint that takes a long body.
fn receiving(framing: Framing) -> SocketAddr {
    endpoint(move |mut stream| {
        SockRef::from(&stream).set_recv_buffer_size(NARROW)?;
        let (_, start) = read_head(&mut stream)?;
        read_long(&mut stream, start, framing)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    })
}

/// The field that says how a body is framed.
fn field(framing: Framing) -> String {
    match framing {
        Framing::Length(length) => format!("Content-Length: {length}\r\n"),
        Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        Framing::None | Framing::UntilClose => String::new(),
    }
}

fn send_long(stream: &mut TcpStream, framing: Framing) -> io::Result<()> {
    let payload = vec![b'x'; PIECE];
    let mut piece = Vec::new();
    if framing == Framing::Chunked {
        for chunk in payload.chunks(CHUNK) {
            write!(piece, "{:x}\r\n", chunk.len())?;
            piece.extend_from_slice(chunk);
            piece.extend_from_slice(b"\r\n");
        }
    } else {
        piece = payload;
    }
    for _ in 0..LONG / PIECE as u64 {
        stream.write_all(&piece)?;
    }
    if framing == Framing::Chunked { stream.write_all(b"0\r\n\r\n") } else { Ok(()) }
}

/// Reads a whole body, of which `bytes` are there already.
fn read_long(stream: &mut TcpStream, mut bytes: Vec<u8>, framing: Framing) -> io::Result<()> {
    let mut body = Body::new(framing, Coding::Decode);
    let mut buffer = vec![0; PIECE];
    while !body.is_done() {
        if bytes.is_empty() {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&buffer[..count]);
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() && !body.is_done() {
            let Step { skip, pass } = body.feed(rest).map_err(|bad| io::Error::other(format!("{bad:?}")))?;
            rest = &rest[skip + pass..];
        }
        assert!(rest.is_empty(), "nothing follows the body");
        bytes.clear();
    }
    assert_eq!(body.payload(), LONG);
    Ok(())
}

/// The peak is a few buffers above what there was at the end of the tests before.
pub(crate) fn assert_constant(framing: impl fmt::Debug) {
    let peak = PEAK.swap(0, Relaxed) - LIVE.load(Relaxed).min(0);
    eprintln!("{peak} bytes at most, {framing:?}");
    assert!(peak < 2 << 20, "{peak} bytes, {framing:?}");
}
