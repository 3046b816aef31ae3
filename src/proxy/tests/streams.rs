//! HTTP/2 itself: clients and endpoints that say what each stream does.

use std::{
    future::Future,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
    server,
};
use http::{HeaderMap, Request, Response};
use tokio::{task::JoinHandle, time::timeout};

use super::{
    harness::{GENEROUS, Gateway, Over, Speaks},
    interpreter::{self, Stream, runtime},
};

/// A client's connection.
pub(super) struct Client {
    pub(super) sender: SendRequest<Bytes>,
    /// Ends with the connection.
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// An answer that came to its end.
pub(super) struct Answer {
    pub(super) head: Response<()>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

/// An endpoint.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

/// What the script of an endpoint serves.
pub(super) type Served = server::Connection<Box<dyn Stream>, Bytes>;

/// Waits for what must come.
pub(super) fn run<F: Future>(work: F) -> F::Output {
    runtime().block_on(async { timeout(GENEROUS, work).await.expect("it must end") })
}

/// A request for `shop.example`.
pub(super) fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://shop.example{path}")).body(()).unwrap()
}

/// The body of a stream.
pub(super) async fn read(stream: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        let _ = stream.flow_control().release_capacity(piece.len());
        body.extend_from_slice(&piece);
    }
    Ok((body, stream.trailers().await?))
}

/// Sends a piece of a body, as the window allows.
pub(super) async fn send(stream: &mut SendStream<Bytes>, piece: impl Into<Bytes>) -> std::io::Result<()> {
    interpreter::send(stream, piece.into()).await
}

/// Reads an answer.
pub(super) async fn answer(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (parts, mut stream) = response.await?.into_parts();
    let (body, trailers) = read(&mut stream).await?;
    Ok(Answer { head: Response::from_parts(parts, ()), body, trailers })
}

// === impl Client ===

impl Client {
    pub(super) fn to<O: Over>(gateway: &Gateway<O>) -> Self {
        Self::with(gateway, &Builder::new())
    }

    pub(super) fn with<O: Over>(gateway: &Gateway<O>, builder: &Builder) -> Self {
        let socket = TcpStream::connect(gateway.address).unwrap();
        run(async {
            let stream = interpreter::connect(socket, O::CLIENT.tls).await.expect("a handshake");
            let (sender, connection) = builder.handshake(stream).await.unwrap();
            Self { sender, driver: tokio::spawn(connection) }
        })
    }

    /// Begins a request. `ends` is whether that is all of it.
    pub(super) async fn begin(&mut self, request: Request<()>, ends: bool) -> (ResponseFuture, SendStream<Bytes>) {
        self.sender = self.sender.clone().ready().await.expect("the connection takes requests");
        self.sender.send_request(request, ends).unwrap()
    }

    /// Waits until the gateway ends the connection, which blames nobody. It may have done so before the client said that
    /// it had heard.
    pub(super) async fn end(self) {
        if let Err(error) = self.driver.await.unwrap() {
            assert!(error.is_io(), "{error}");
        }
    }

    /// Makes a request without a body.
    pub(super) async fn ask(&mut self, request: Request<()>) -> Result<Answer, h2::Error> {
        let (response, _stream) = self.begin(request, true).await;
        answer(response).await
    }
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.head.status().as_u16()
    }
}

// === impl Server ===

impl Server {
    /// Runs `script` for each connection, with its number from 0.
    pub(super) fn run<F>(
        speaks: Speaks,
        builder: server::Builder,
        script: impl Fn(usize, Served) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, accepted: Arc::default(), ended: Arc::default() };
        let (accepted, ended) = (Arc::clone(&server.accepted), Arc::clone(&server.ended));
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let number = accepted.fetch_add(1, SeqCst);
                let (builder, script, ended) = (builder.clone(), Arc::clone(&script), Arc::clone(&ended));
                runtime().spawn(async move {
                    let stream = interpreter::accept(socket.unwrap(), speaks.tls).await.expect("a handshake");
                    if let Ok(connection) = builder.handshake(stream).await {
                        script(number, connection).await;
                    }
                    ended.fetch_add(1, SeqCst);
                });
            }
        });
        server
    }

    /// Runs `serve` for each stream, in a task of its own.
    pub(super) fn each<F>(
        speaks: Speaks,
        builder: server::Builder,
        serve: impl Fn(Request<RecvStream>, server::SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve = Arc::new(serve);
        Self::run(speaks, builder, move |_, mut connection| {
            let serve = Arc::clone(&serve);
            async move {
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(serve(request, respond));
                }
            }
        })
    }

    /// How many connections were made to it.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// How many of them have ended.
    pub(super) fn ended(&self) -> usize {
        self.ended.load(SeqCst)
    }
}
