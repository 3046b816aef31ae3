//! A client of tonic's for the [probe](super::probe), by HTTP/2 as it is or over TLS.

use super::probe::{LARGEST, Note};
use crate::tls::Trust;
use hyper_util::rt::TokioIo;
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::client::TlsStream;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    client::Grpc,
    codegen::{BoxFuture, Service, http::Uri, http::uri::PathAndQuery},
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// A client, on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    grpc: Grpc<Channel>,
}

/// A bidirectional call: notes go in, notes come out.
pub(crate) struct PingPong {
    pub(crate) send: mpsc::Sender<Note>,
    pub(crate) receive: Streaming<Note>,
}

// === impl Caller ===

impl Caller {
    /// A client of a host, at an address that speaks HTTP/2 as it is.
    pub(crate) async fn plain(address: SocketAddr, host: &str) -> Self {
        let origin = format!("http://{host}").parse().expect("it is a URI");
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is a URI").origin(origin);
        Self::new(endpoint.connect().await.expect("the gateway accepts connections"))
    }

    /// A client of a host, at an address that speaks TLS.
    pub(crate) async fn tls(address: SocketAddr, host: &str, trust: &Arc<Trust>) -> Self {
        let endpoint = Endpoint::from_shared(format!("https://{host}")).expect("it is a URI");
        let connect = ByTls { address, host: host.to_owned(), trust: trust.clone() };
        Self::new(endpoint.connect_with_connector(connect).await.expect("the gateway accepts connections"))
    }

    fn new(channel: Channel) -> Self {
        Self { grpc: Grpc::new(channel).max_decoding_message_size(LARGEST).max_encoding_message_size(LARGEST) }
    }

    pub(crate) async fn unary(&self, method: &str, request: Request<Note>) -> Result<Response<Note>, Status> {
        let mut grpc = self.ready().await?;
        grpc.unary(request, path(method), codec()).await
    }

    /// `Echo`, with nothing to say.
    pub(crate) async fn echo(&self) -> Result<Note, Status> {
        self.unary("Echo", Request::new(Note::default())).await.map(Response::into_inner)
    }

    pub(crate) async fn down(&self, method: &str, request: Request<Note>) -> Result<Streaming<Note>, Status> {
        let mut grpc = self.ready().await?;
        grpc.server_streaming(request, path(method), codec()).await.map(Response::into_inner)
    }

    pub(crate) async fn sum(&self, notes: impl Stream<Item = Note> + Send + 'static) -> Result<Note, Status> {
        let mut grpc = self.ready().await?;
        grpc.client_streaming(Request::new(notes), path("Sum"), codec()).await.map(Response::into_inner)
    }

    pub(crate) async fn ping_pong(&self) -> Result<PingPong, Status> {
        let mut grpc = self.ready().await?;
        let (send, notes) = mpsc::channel(1);
        let notes = Request::new(ReceiverStream::new(notes));
        let receive = grpc.streaming(notes, path("PingPong"), codec()).await?.into_inner();
        Ok(PingPong { send, receive })
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = self.grpc.clone();
        grpc.ready().await.map_err(|error| Status::unknown(format!("not ready: {error}")))?;
        Ok(grpc)
    }
}

fn path(method: &str) -> PathAndQuery {
    format!("/probe.Probe/{method}").parse().expect("it is a path")
}

fn codec() -> ProstCodec<Note, Note> {
    ProstCodec::default()
}

/// Connects by TLS.
#[derive(Clone)]
struct ByTls {
    address: SocketAddr,
    host: String,
    trust: Arc<Trust>,
}

impl Service<Uri> for ByTls {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<Self::Response, io::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { address, host, trust } = self.clone();
        Box::pin(async move { Ok(TokioIo::new(trust.connect_offering(address, &host, b"h2").await?)) })
    }
}
