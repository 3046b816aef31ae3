//! A stream of a client: one request, and its answer.

use std::{
    cell::RefCell,
    io,
    task::{Context, Poll},
};

use ::h2::{Reason, server::SendResponse};
use ::http::{Response as Head, StatusCode};
use bytes::Bytes;

use super::{
    body::{Inflow, Outflow},
    head,
    tunnel::Tunnel,
};
use crate::{
    http::{Asked, Coding, Framing, Limits, Response, ResponseEdits, ResponseView},
    proxy::seam::{Downstream, Sink, Source, SourceError},
};

/// A client's stream.
#[derive(Debug)]
pub(crate) struct Client {
    respond: SendResponse<Bytes>,
    inflow: Inflow,
    /// The answer's body, once its head was sent and unless that was all.
    outflow: Option<Outflow>,
    asked: Asked,
    wants_chunks: bool,
    /// Whether the client waits to be told to send the body.
    expects_continue: bool,
    /// Whether the request asks for a tunnel, so that what comes is no body.
    asks_for_tunnel: bool,
    /// Whether the stream takes nothing any more.
    broken: bool,
    head_sent: u64,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(respond: SendResponse<Bytes>, inflow: Inflow) -> Self {
        Self {
            respond,
            inflow,
            outflow: None,
            asked: Asked::default(),
            wants_chunks: false,
            expects_continue: false,
            asks_for_tunnel: false,
            broken: false,
            head_sent: 0,
        }
    }

    /// Begins to serve the request.
    pub(crate) fn begin(&mut self, asked: Asked, framing: Framing, expects_continue: bool, body_limit: u64) {
        self.asked = asked;
        self.wants_chunks = framing == Framing::Chunked;
        self.expects_continue = expects_continue;
        self.asks_for_tunnel = asked.upgrade;
        self.inflow.set_limit(body_limit);
    }

    /// Lets the body be of any length.
    pub(crate) fn take_all(&mut self) {
        self.inflow.set_limit(u64::MAX);
    }

    /// How many bytes of the body have come.
    pub(crate) fn body_received(&self) -> u64 {
        self.inflow.received()
    }

    /// How many bytes the fields of the answer's heads had, before they were compressed.
    pub(crate) fn head_sent(&self) -> u64 {
        self.head_sent
    }

    /// How many bytes of the answer's body were sent.
    pub(crate) fn body_sent(&self) -> u64 {
        self.outflow.as_ref().map_or(0, Outflow::sent)
    }

    /// Ends the stream in a way that the client cannot take for the end of an answer.
    pub(crate) fn reset(&mut self) {
        match &mut self.outflow {
            Some(outflow) => outflow.stream().send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    /// Begins an answer of the gateway's own, which was written in the form of HTTP/1, and gives its body.
    pub(crate) fn answer_own<'a>(&mut self, answer: &'a [u8], storage: &RefCell<Response>) -> &'a [u8] {
        let mut storage = storage.borrow_mut();
        match storage.read(answer, self.asked, &Limits::RESPONSE) {
            Ok(Some(length)) => {
                let view = storage.view(answer);
                self.answer(view, &ResponseEdits::default());
                if view.framing() == Framing::None { b"" } else { &answer[length..] }
            }
            // What we write ourselves can be read; if not, the client must not be left waiting.
            _ => {
                self.reset();
                b""
            }
        }
    }

    /// The stream as a tunnel, once the switch of protocols was passed on.
    pub(crate) fn into_tunnel(self) -> Option<Tunnel> {
        Some(Tunnel::new(self.inflow, self.outflow?))
    }
}

impl Source for Client {
    fn ready(&mut self) -> Result<&[u8], SourceError> {
        if self.asks_for_tunnel { Ok(b"") } else { self.inflow.ready() }
    }

    fn consume(&mut self, count: usize) {
        self.inflow.consume(count);
    }

    fn take(&mut self, most: usize) -> Bytes {
        self.inflow.take(most)
    }

    fn is_complete(&self) -> bool {
        self.asks_for_tunnel || self.inflow.is_complete()
    }

    fn trailers(&self) -> &[u8] {
        self.inflow.trailers()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SourceError>> {
        if self.expects_continue {
            self.expects_continue = false;
            let mut go_on = Head::new(());
            *go_on.status_mut() = StatusCode::CONTINUE;
            // A stream that has ended meanwhile says so when it is read.
            let _ = self.respond.send_informational(go_on);
        }
        self.inflow.poll_read(cx)
    }
}

impl Sink for Client {
    fn poll_send(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.outflow {
            Some(outflow) => outflow.poll_send(cx, body),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match &mut self.outflow {
            Some(outflow) => outflow.poll_room(cx),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn keep(&mut self, piece: Bytes) {
        if let Some(outflow) = &mut self.outflow {
            outflow.keep(piece);
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.outflow {
            Some(outflow) => outflow.poll_flush(cx),
            None if self.broken => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &[u8]) -> Poll<io::Result<()>> {
        match &mut self.outflow {
            Some(outflow) => outflow.poll_finish(cx, trailers),
            None => self.poll_flush(cx),
        }
    }
}

impl Downstream for Client {
    fn asked(&self) -> Asked {
        self.asked
    }

    fn wants_chunks(&self) -> bool {
        self.wants_chunks
    }

    fn answer(&mut self, view: ResponseView<'_>, edits: &ResponseEdits<'_>) -> Coding {
        let response = head::response(view, self.asked, edits);
        let fields = response.headers().iter();
        self.head_sent += fields.map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum::<u64>();
        if view.is_interim() {
            self.broken |= self.respond.send_informational(response).is_err();
            return Coding::Pass;
        }
        self.expects_continue = false;
        let ends = view.framing() == Framing::None;
        match self.respond.send_response(response, ends) {
            Ok(stream) => self.outflow = (!ends).then(|| Outflow::new(stream)),
            Err(_) => self.broken = true,
        }
        Coding::Decode
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.outflow {
            Some(outflow) => outflow.stream().poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(|_| ())
    }
}
