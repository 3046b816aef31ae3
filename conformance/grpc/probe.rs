//! A gRPC service that does as it is told, on a server of tonic's that can be taken away at any moment.
//!
//! | method | what it does |
//! | --- | --- |
//! | `Echo` | answers with the note that it was sent, and with the metadata `x-echo` and `x-echo-bin` |
//! | `Hold` | answers when it is let go |
//! | `Count` | streams as many notes as it was asked for |
//! | `Watch` | streams one note, and the end when it is let go |
//! | `Sum` | takes a stream, and tells how many notes and bytes it had |
//! | `PingPong` | answers each note of a stream before it takes the next |
//!
//! Where `x-want-status` is a code, `Echo` and `Count` end with it, a message and details. Each note tells who answered.

use serin::tls::Issued;
use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::{mpsc, watch},
};
use tokio_rustls::{TlsAcceptor, rustls};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    codegen::{BoxFuture, BoxStream, Service, http},
    metadata::MetadataValue,
    server::{ClientStreamingService, Grpc, ServerStreamingService, StreamingService, UnaryService},
    transport::{Server, server::Connected},
};
use tonic_prost::ProstCodec;

/// The most bytes of a message.
pub(crate) const LARGEST: usize = 16 << 20;
/// The message of a status that was asked for: what it holds has to be escaped on the wire.
pub(crate) const MESSAGE: &str = "as wanted: 100 % \u{fc}\n";
/// The details of a status that was asked for.
pub(crate) const DETAILS: &[u8] = &[0, 255, 7, 128];

/// What is sent both ways.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Note {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    /// Who answered.
    #[prost(string, tag = "2")]
    pub(crate) by: String,
    #[prost(uint32, tag = "3")]
    pub(crate) count: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) payload: Vec<u8>,
}

/// A running server. It and all its connections end on drop.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

/// What calls of a server have in common.
#[derive(Debug)]
struct State {
    name: String,
    connections: AtomicUsize,
    calls: AtomicUsize,
    /// Calls that wait to be let go.
    held: AtomicUsize,
    /// Calls that were given up while they waited.
    given_up: AtomicUsize,
    let_go: watch::Sender<bool>,
}

// === impl Probe ===

impl Probe {
    /// Starts a server on a free loopback port.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), name)
    }

    /// Starts a server at an address.
    pub(crate) fn start_at(address: SocketAddr, name: &str) -> Self {
        Self::start_with(address, name, None, Server::builder())
    }

    /// Starts a server that asks the clients of a connection to leave when it has lasted so long.
    pub(crate) fn start_leaving(name: &str, after: Duration) -> Self {
        Self::start_with((Ipv4Addr::LOCALHOST, 0).into(), name, None, Server::builder().max_connection_age(after))
    }

    /// Starts a server that speaks TLS.
    pub(crate) fn start_tls(name: &str, certificate: &Issued) -> Self {
        Self::start_with((Ipv4Addr::LOCALHOST, 0).into(), name, Some(acceptor(certificate)), Server::builder())
    }

    fn start_with(address: SocketAddr, name: &str, acceptor: Option<TlsAcceptor>, server: Server) -> Self {
        // A runtime of its own, so that all its connections can be ended.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let listener = std::net::TcpListener::bind(address).expect("the address is ours and free");
        listener.set_nonblocking(true).expect("a listener can wait");
        let address = listener.local_addr().expect("the listener is bound");
        let state = Arc::new(State {
            name: name.into(),
            connections: AtomicUsize::default(),
            calls: AtomicUsize::default(),
            held: AtomicUsize::default(),
            given_up: AtomicUsize::default(),
            let_go: watch::Sender::new(false),
        });
        let service = Calls(Arc::clone(&state));
        let connections = Arc::clone(&state);
        runtime.spawn(async move {
            let (accepted, incoming) = mpsc::channel(16);
            let listener = TcpListener::from_std(listener).expect("the listener is one");
            tokio::spawn(accept(listener, acceptor, connections, accepted));
            server.serve_with_incoming(service, ReceiverStream::new(incoming)).await
        });
        Self { address, state, runtime: Some(runtime) }
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// How many calls have reached it.
    pub(crate) fn calls(&self) -> usize {
        self.state.calls.load(Ordering::Relaxed)
    }

    /// How many calls wait to be let go.
    pub(crate) fn held(&self) -> usize {
        self.state.held.load(Ordering::Relaxed)
    }

    /// How many calls were given up by the client while they waited.
    pub(crate) fn given_up(&self) -> usize {
        self.state.given_up.load(Ordering::Relaxed)
    }

    /// Lets go of the calls that wait, and of those to come.
    pub(crate) fn let_go(&self) {
        self.state.let_go.send_replace(true);
    }

    /// Ends it at once, with all its connections.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.kill();
    }
}

fn acceptor(certificate: &Issued) -> TlsAcceptor {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("it is a key");
    let config =
        rustls::ServerConfig::builder_with_provider(serin::tls::provider()).with_safe_default_protocol_versions();
    let config = config.expect("the provider has versions").with_no_client_auth();
    let mut config = config.with_single_cert(chain.expect("they are certificates"), key).expect("the key fits");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    state: Arc<State>,
    accepted: mpsc::Sender<io::Result<Line>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::Relaxed);
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let line = match acceptor {
                None => Line::Plain(stream),
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => Line::Tls(Box::new(stream)),
                    Err(_) => return,
                },
            };
            let _ = accepted.send(Ok(line)).await;
        });
    }
}

/// A connection, plain or TLS.
enum Line {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

// === impl Line ===

impl Connected for Line {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The service, whichever method is called.
#[derive(Clone, Debug)]
struct Calls(Arc<State>);

// === impl Calls ===

impl Service<http::Request<Body>> for Calls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let calls = self.clone();
        calls.0.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let codec = ProstCodec::<Note, Note>::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(LARGEST);
            let method = request.uri().path().strip_prefix("/probe.Probe/").unwrap_or_default().to_owned();
            Ok(match &*method {
                "Echo" | "Hold" => grpc.unary(Unary(calls, method), request).await,
                "Count" | "Watch" => grpc.server_streaming(Down(calls, method), request).await,
                "Sum" => grpc.client_streaming(calls, request).await,
                "PingPong" => grpc.streaming(calls, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

impl Calls {
    fn note(&self, count: usize) -> Note {
        let count = u32::try_from(count).expect("tests count little");
        Note { by: self.0.name.clone(), count, ..Note::default() }
    }

    /// Waits to be let go.
    async fn held(&self) {
        let held = Held(&self.0);
        self.0.held.fetch_add(1, Ordering::Relaxed);
        let mut let_go = self.0.let_go.subscribe();
        let _ = let_go.wait_for(|let_go| *let_go).await;
        std::mem::forget(held);
    }
}

/// A call that waits. Dropped, it was given up.
struct Held<'s>(&'s State);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::Relaxed);
    }
}

/// Methods that take one note and answer with one.
struct Unary(Calls, String);

impl UnaryService<Note> for Unary {
    type Response = Note;
    type Future = BoxFuture<Response<Note>, Status>;

    fn call(&mut self, request: Request<Note>) -> Self::Future {
        let Self(calls, method) = self;
        let (calls, holds) = (calls.clone(), method == "Hold");
        Box::pin(async move {
            if let Some(status) = wanted(&request) {
                return Err(status);
            }
            if holds {
                calls.held().await;
            }
            let (metadata, _, note) = request.into_parts();
            let mut response = Response::new(Note { by: calls.0.name.clone(), ..note });
            for value in metadata.get_all("x-echo") {
                response.metadata_mut().append("x-echo", value.clone());
            }
            for value in metadata.get_all_bin("x-echo-bin") {
                response.metadata_mut().append_bin("x-echo-bin", value.clone());
            }
            Ok(response)
        })
    }
}

/// The status that a request asks for.
fn wanted(request: &Request<Note>) -> Option<Status> {
    let code: i32 = request.metadata().get("x-want-status")?.to_str().ok()?.parse().ok()?;
    let mut status = Status::with_details(Code::from(code), MESSAGE, DETAILS.into());
    status.metadata_mut().insert_bin("x-more-bin", MetadataValue::from_bytes(DETAILS));
    Some(status)
}

/// Methods that take one note and answer with a stream.
struct Down(Calls, String);

impl ServerStreamingService<Note> for Down {
    type Response = Note;
    type ResponseStream = BoxStream<Note>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Note>) -> Self::Future {
        let Self(calls, method) = self;
        let (calls, watches) = (calls.clone(), method == "Watch");
        Box::pin(async move {
            let (sender, notes) = mpsc::channel(1);
            tokio::spawn(async move {
                let status = wanted(&request);
                let Note { count, payload, .. } = request.into_inner();
                for at in 0..if watches { 1 } else { count as usize } {
                    let note = Note { payload: payload.clone(), ..calls.note(at) };
                    if sender.send(Ok(note)).await.is_err() {
                        return;
                    }
                }
                if watches {
                    tokio::select! {
                        () = calls.held() => {}
                        () = sender.closed() => {}
                    }
                }
                if let Some(status) = status {
                    let _ = sender.send(Err(status)).await;
                }
            });
            Ok(Response::new(boxed(ReceiverStream::new(notes))))
        })
    }
}

fn boxed(notes: impl Stream<Item = Result<Note, Status>> + Send + 'static) -> BoxStream<Note> {
    Box::pin(notes)
}

impl ClientStreamingService<Note> for Calls {
    type Response = Note;
    type Future = BoxFuture<Response<Note>, Status>;

    fn call(&mut self, request: Request<Streaming<Note>>) -> Self::Future {
        let calls = self.clone();
        Box::pin(async move {
            let mut notes = request.into_inner();
            let (mut count, mut bytes) = (0, 0);
            while let Some(note) = notes.next().await {
                count += 1;
                bytes += note?.payload.len();
            }
            Ok(Response::new(Note { text: bytes.to_string(), ..calls.note(count) }))
        })
    }
}

impl StreamingService<Note> for Calls {
    type Response = Note;
    type ResponseStream = BoxStream<Note>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<Note>>) -> Self::Future {
        let name = self.0.name.clone();
        Box::pin(async move {
            let notes = request.into_inner().map(move |note| note.map(|note| Note { by: name.clone(), ..note }));
            Ok(Response::new(boxed(notes)))
        })
    }
}
