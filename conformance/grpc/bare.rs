//! HTTP/2 without tonic around it: endpoints that refuse or do not answer, and a client that keeps no time of its own.

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{Request, Response};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time,
};

use crate::client::PATIENCE;

/// An endpoint; it and its connections end on drop.
#[derive(Debug)]
pub(crate) struct Bare {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// The `grpc-timeout` of each call.
    begun: mpsc::UnboundedReceiver<Option<String>>,
    /// Why the client has ended each call that was not answered.
    resets: mpsc::UnboundedReceiver<Option<Reason>>,
    _tasks: JoinSet<()>,
}

/// What an endpoint does with calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// It does not answer, and takes nothing of the body.
    Hold,
    /// It answers with a head and a part of a body, and no more.
    Begin,
    /// It says that it has done nothing with the call.
    Refuse,
    /// It answers after a while that all is well.
    Answer(Duration),
}

/// What a bare client was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// From the head, or from the trailers.
    pub(crate) grpc_status: Option<String>,
}

/// What an endpoint tells of its calls.
#[derive(Clone)]
struct Tell {
    begun: mpsc::UnboundedSender<Option<String>>,
    resets: mpsc::UnboundedSender<Option<Reason>>,
}

// === impl Bare ===

impl Bare {
    /// Starts an endpoint on a free loopback port.
    pub(crate) async fn start(then: Then) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let connections = Arc::new(AtomicUsize::default());
        let (begun, calls) = mpsc::unbounded_channel();
        let (resets, ends) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let (counted, tell) = (Arc::clone(&connections), Tell { begun, resets });
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let tell = tell.clone();
                serving.spawn(async move { drop(serve(stream, then, &tell).await) });
            }
        });
        Self { address, connections, begun: calls, resets: ends, _tasks: tasks }
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits for the next call, and gives its `grpc-timeout`.
    pub(crate) async fn has_begun(&mut self) -> Option<String> {
        let next = time::timeout(PATIENCE, self.begun.recv()).await;
        next.expect("a call comes").expect("the endpoint is there")
    }

    /// Waits until the next call is ended by the client, and tells why.
    pub(crate) async fn was_reset(&mut self) -> Option<Reason> {
        let next = time::timeout(PATIENCE, self.resets.recv()).await;
        next.expect("a call ends").expect("the endpoint is there")
    }
}

async fn serve(stream: TcpStream, then: Then, tell: &Tell) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    let mut calls = JoinSet::new();
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        let timeout =
            request.headers().get("grpc-timeout").map(|value| value.to_str().expect("it is ASCII").to_owned());
        let _ = tell.begun.send(timeout);
        let tell = tell.clone();
        calls.spawn(async move { drop(answer(request, respond, then, &tell).await) });
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    then: Then,
    tell: &Tell,
) -> Result<(), h2::Error> {
    // Kept, so that the client's body is neither taken nor refused.
    let _body = request.into_body();
    let head = Response::builder().header("content-type", "application/grpc").body(()).expect("it is a head");
    let reset = match then {
        Then::Refuse => {
            respond.send_reset(Reason::REFUSED_STREAM);
            return Ok(());
        }
        Then::Answer(after) => {
            time::sleep(after).await;
            let mut stream = respond.send_response(head, false)?;
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            return stream.send_trailers(trailers);
        }
        Then::Hold => std::future::poll_fn(|cx| respond.poll_reset(cx)).await,
        Then::Begin => {
            let mut stream = respond.send_response(head, false)?;
            stream.send_data(Bytes::from_static(&[0, 0, 0, 0, 9]), false)?;
            std::future::poll_fn(|cx| stream.poll_reset(cx)).await
        }
    };
    let _ = tell.resets.send(reset.ok());
    Ok(())
}

/// Makes a call with an empty message.
pub(crate) async fn ask(gateway: SocketAddr, host: &str, timeout: Option<&str>) -> Result<Answer, h2::Error> {
    let stream = TcpStream::connect(gateway).await.expect("the gateway accepts connections");
    let (send, connection) = h2::client::handshake(stream).await?;
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let mut request = Request::post(format!("http://{host}/probe.Probe/Echo"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    let request = request.body(()).expect("it is a head");
    let asking = async {
        let (response, mut body) = send.ready().await?.send_request(request, false)?;
        body.send_data(Bytes::from_static(&[0; 5]), true)?;
        let (head, mut body) = response.await?.into_parts();
        while let Some(piece) = body.data().await {
            let _ = body.flow_control().release_capacity(piece?.len());
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        let status = head.headers.get("grpc-status").or_else(|| trailers.get("grpc-status"));
        let grpc_status = status.map(|value| value.to_str().expect("it is ASCII").to_owned());
        Ok(Answer { status: head.status.as_u16(), grpc_status })
    };
    time::timeout(PATIENCE, asking).await.expect("it is answered in time")
}
