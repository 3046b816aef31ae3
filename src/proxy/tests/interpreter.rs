//! Interpreters: a test speaks the text of HTTP/1, and its peer whatever it likes.
//!
//! A test's client writes requests to a socket and reads answers from it; behind that socket, an interpreter makes of each
//! a stream of HTTP/2. A test's endpoint reads requests and writes answers; before its socket, an interpreter takes each
//! stream apart. So the same test holds for all that may be spoken. Interpreters wait for whoever is slow, and hold no
//! more than a piece: what a test says of slowness and of order holds through them.
//!
//! ```text
//! client's text ── asking ──> gateway ── answering ──> endpoint's text
//! ```

use std::{
    net::{TcpListener, TcpStream as Socket},
    sync::{Arc, OnceLock},
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::TcpStream,
    runtime::{Builder, Runtime},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    harness::{Speaks, certificates},
    wire::client_config,
};
use crate::{
    live::Live,
    tls::{self, Protocols},
};

mod answering;
mod asking;
mod text;

pub(super) use self::text::send;

/// What HTTP/2 may be spoken over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Speaks HTTP/2 to the server of `socket`, for a client that speaks the text on the socket that this gives.
pub(super) fn client(socket: Socket, tls: bool) -> Socket {
    let (near, far) = pair();
    runtime().spawn(async move {
        let Some(stream) = connect(socket, tls).await else { return };
        asking::interpret(awaited(far), stream, tls).await;
    });
    near
}

/// Speaks as is told to the client of `socket`, for an endpoint that is `run` with a socket for the text: once for a
/// connection, over HTTP/2 once for a stream.
pub(super) fn endpoint(socket: Socket, speaks: Speaks, run: impl Fn(Socket) + Send + Sync + 'static) {
    runtime().spawn(async move {
        let Some(mut stream) = accept(socket, speaks.tls).await else { return };
        if speaks.http2 {
            return answering::interpret(stream, run).await;
        }
        let (near, far) = pair();
        run(near);
        // Whoever breaks off is seen to do so by the other: both sockets end here.
        let _ = copy_bidirectional(&mut stream, &mut awaited(far)).await;
    });
}

/// Begins as a client that speaks HTTP/2.
pub(super) async fn connect(socket: Socket, tls: bool) -> Option<Box<dyn Stream>> {
    let socket = awaited(socket);
    if !tls {
        return Some(Box::new(socket));
    }
    let mut config = client_config();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TlsConnector::from(Arc::new(config)).connect("shop.example".try_into().unwrap(), socket).await.ok()?;
    Some(Box::new(stream))
}

/// Begins as the server of `socket`.
pub(super) async fn accept(socket: Socket, tls: bool) -> Option<Box<dyn Stream>> {
    let socket = awaited(socket);
    if !tls {
        return Some(Box::new(socket));
    }
    let stream = TlsAcceptor::from(server_config()).accept(socket).await.ok()?;
    Some(Box::new(stream))
}

/// What endpoints are set up with.
fn server_config() -> Arc<ServerConfig> {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    let make = || tls::server_config(Arc::new(Live::new(certificates())), Protocols::default()).unwrap();
    CONFIG.get_or_init(make).clone()
}

/// Where all interpreters live.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// Two sockets that are connected to each other.
fn pair() -> (Socket, Socket) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let near = Socket::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    (near, far)
}

/// A socket that tasks wait for.
fn awaited(socket: Socket) -> TcpStream {
    socket.set_nonblocking(true).unwrap();
    socket.set_nodelay(true).unwrap();
    TcpStream::from_std(socket).unwrap()
}
