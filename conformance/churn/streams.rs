//! Load over HTTP/2: requests on many streams of one connection at once.

use super::{
    door::Door,
    traffic::{Asked, KEEP_ALIVE_REQUESTS, State},
};
use crate::{
    client::{Answer, PATIENCE, Request},
    wire::{Head, latin1},
};
use bytes::Bytes;
use h2::{Reason, client::SendRequest};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

/// A connection, shared by its streams.
#[derive(Clone)]
struct Connection {
    send: SendRequest<Bytes>,
    scheme: &'static str,
    asked: Arc<AtomicUsize>,
    _driver: Arc<JoinSet<()>>,
}

/// How a request on a stream ended, where it was not answered.
enum Unanswered {
    /// The gateway has ended the connection politely, when it was time, and has not seen the request.
    Leaving,
    Lost(String),
}

/// Asks again and again on some streams at once, at a steady rate each.
pub(super) async fn ask_on_streams(state: Arc<State>, door: Door, number: usize, streams: usize, every: Duration) {
    let asked = Arc::new(AtomicUsize::new(0));
    while !state.is_stopped() {
        let connection = match Connection::open(&door).await {
            Ok(connection) => connection,
            Err(error) => {
                state.lose(format!("stream: no connection: {error}"));
                time::sleep(every).await;
                continue;
            }
        };
        let mut asking = JoinSet::new();
        for _ in 0..streams {
            asking.spawn(ask(Arc::clone(&state), connection.clone(), number, Arc::clone(&asked), every));
        }
        while let Some(ended) = asking.join_next().await {
            if let Err(error) = ended {
                state.lose(format!("stream: a client ended: {error}"));
            }
        }
    }
}

/// Asks until the connection ends.
async fn ask(state: Arc<State>, mut connection: Connection, number: usize, asked: Arc<AtomicUsize>, every: Duration) {
    let mut ticks = time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !state.is_stopped() {
        ticks.tick().await;
        let asking = Asked::new(&state, number, asked.fetch_add(1, Ordering::Relaxed));
        let answer = time::timeout(PATIENCE, connection.exchange(&asking.request)).await;
        let lost = match answer {
            Ok(Ok(answer)) => asking.judge(&state, &answer),
            Ok(Err(Unanswered::Leaving)) => return,
            Ok(Err(Unanswered::Lost(lost))) => Err(format!("{}: {lost}", asking.request.path)),
            Err(_) => Err(format!("{}: no answer", asking.request.path)),
        };
        match lost {
            Ok(()) => state.count(|tally| tally.on_streams += 1),
            Err(lost) => return state.lose(format!("stream: {lost}")),
        }
    }
}

// === impl Connection ===

impl Connection {
    async fn open(door: &Door) -> io::Result<Self> {
        let stream = door.connect("load.test").await?;
        let (send, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) });
        Ok(Self { send, scheme: door.scheme(), asked: Arc::default(), _driver: Arc::new(driver) })
    }

    async fn exchange(&mut self, request: &Request) -> Result<Answer, Unanswered> {
        let mut head = http::Request::builder()
            .method(&*request.method)
            .uri(format!("{}://{}{}", self.scheme, request.host, request.path));
        for (name, value) in &request.fields {
            head = head.header(name, value);
        }
        let head = head.body(()).expect("it is a head");
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let exchange = async {
            let mut send = self.send.clone().ready().await?;
            let (response, mut body) = send.send_request(head, request.body.is_none())?;
            if let Some(bytes) = &request.body {
                body.send_data(bytes.clone().into(), true)?;
            }
            let (head, mut body) = response.await?.into_parts();
            let mut bytes = Vec::new();
            while let Some(piece) = body.data().await {
                let piece = piece?;
                body.flow_control().release_capacity(piece.len())?;
                bytes.extend_from_slice(&piece);
            }
            Ok((head, bytes))
        };
        let (head, body) = exchange.await.map_err(|error: h2::Error| {
            // Whatever the gateway has begun to serve, it serves: such an error says that it has not.
            let polite = error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
            if polite && asked >= KEEP_ALIVE_REQUESTS {
                Unanswered::Leaving
            } else {
                Unanswered::Lost(format!("after {asked} requests: {error}"))
            }
        })?;
        let fields = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), latin1(value.as_bytes())));
        let head_of_answer = Head { first_line: String::new(), fields: fields.collect() };
        Ok(Answer { status: head.status.as_u16(), head: head_of_answer, body })
    }
}
