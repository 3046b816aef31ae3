//! An endpoint's stream during one try.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::h2::{Reason, client::ResponseFuture};
use bytes::Bytes;

use super::{
    Session,
    body::{Inflow, Outflow, Sender, broken},
    head,
};
use crate::{
    http::{Asked, Coding, FieldNames, Framing, Limits, Malformed, Refusal, Request, Response, ResponseView},
    proxy::{
        buffer,
        h1::Outbox,
        seam::{Head, HeadError, Sink, Source, SourceError, Upstream},
    },
};

/// What a head of ours may hold when it is read again: as much as a client's, and what we added.
const OURS: Limits =
    Limits { head: 1 << 20, line: 1 << 20, target: 1 << 20, fields: usize::MAX, names: FieldNames::Any };

/// An endpoint's stream.
#[derive(Debug)]
pub(crate) struct Endpoint<'w> {
    session: Session,
    is_tls: bool,
    /// The request's head in the form of HTTP/1. It stays until the request is over, to be sent again.
    outbox: Outbox,
    requests: &'w RefCell<Request>,
    /// The worker's storage for response heads. A head is looked at as soon as it is read, never across a wait.
    responses: &'w RefCell<Response>,
    asked: Asked,
    state: State,
    outflow: Option<Outflow>,
    inflow: Option<Inflow>,
    /// The head that is at hand, in the form of HTTP/1.
    head: Vec<u8>,
    /// Whether the endpoint may have seen the request.
    seen: bool,
    /// Whether the endpoint has reset the stream.
    was_reset: bool,
}

enum State {
    /// The request was not sent yet.
    Unsent,
    /// The head of the answer has not come.
    Waiting(ResponseFuture),
    /// It has come, or there is none.
    Over,
    /// Frames cannot say what the request does.
    Unsendable(Refusal),
}

// === impl Endpoint ===

impl<'w> Endpoint<'w> {
    /// A try on `session`, with the request's head in `outbox`.
    pub(crate) fn new(
        session: Session,
        is_tls: bool,
        outbox: Outbox,
        asked: Asked,
        requests: &'w RefCell<Request>,
        responses: &'w RefCell<Response>,
    ) -> Self {
        Self {
            session,
            is_tls,
            outbox,
            requests,
            responses,
            asked,
            state: State::Unsent,
            outflow: None,
            inflow: None,
            head: buffer::take_out(),
            seen: false,
            was_reset: false,
        }
    }

    /// Whether it failed in a way that another connection may not: the endpoint refused the stream unseen, or the
    /// connection broke. What it did to the stream on purpose, it would do again.
    pub(crate) fn is_worth_another(&self) -> bool {
        !self.seen || !self.was_reset
    }

    /// Ends the try. What is left of the stream is reset.
    pub(crate) fn end(mut self) -> Outbox {
        std::mem::take(&mut self.outbox)
    }

    /// Sends the head, as soon as the connection takes a stream.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.state, State::Unsent) {
            return Poll::Ready(Ok(()));
        }
        if let Err(error) = ready!(self.session.sender.poll_ready(cx)) {
            self.fail(&error);
            return Poll::Ready(Err(broken(error)));
        }
        let (request, ends) = match self.request() {
            Ok(request) => request,
            Err(refusal) => {
                self.state = State::Unsendable(refusal);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        };
        match self.session.sender.send_request(request, ends) {
            Ok((response, stream)) => {
                self.seen = true;
                self.state = State::Waiting(response);
                self.outflow = (!ends).then(|| Outflow::new(stream));
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.fail(&error);
                Poll::Ready(Err(broken(error)))
            }
        }
    }

    /// The head in the outbox, for frames, and whether no body follows it.
    fn request(&self) -> Result<(::http::Request<()>, bool), Refusal> {
        let mut storage = self.requests.borrow_mut();
        let bytes = self.outbox.bytes();
        storage.read(bytes, &OURS)?.ok_or(Refusal::HeadersTooLarge)?;
        let view = storage.view(bytes);
        Ok((head::request(view, self.is_tls)?, view.framing() == Framing::None))
    }

    /// Takes note of an error, and tells what it means. Where the endpoint says that it did nothing with the request, it
    /// has not seen it.
    fn fail(&mut self, error: &::h2::Error) -> HeadError {
        self.state = State::Over;
        self.was_reset = error.is_reset();
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        let unprocessed = error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
        if refused || unprocessed {
            self.seen = false;
        }
        if !error.is_reset() {
            self.session.close();
        }
        if refused { HeadError::Refused } else { HeadError::Closed { early: true } }
    }

    /// Reads the head that was written to `self.head`.
    fn read_head(&mut self) -> Result<Head, HeadError> {
        let mut storage = self.responses.borrow_mut();
        let read = storage.read(&self.head, self.asked, &Limits::RESPONSE).map_err(HeadError::Bad)?;
        read.ok_or(HeadError::Bad(Refusal::BadUpstream(Malformed::TooLarge)))?;
        let view = storage.view(&self.head);
        if let Some(inflow) = &mut self.inflow {
            // Frames may come behind a head that has no body. A client over HTTP/1 would take them for its next answer.
            match view.framing() {
                Framing::None => inflow.end(),
                Framing::Length(length) => inflow.set_limit(length),
                Framing::Chunked | Framing::UntilClose => {}
            }
        }
        Ok(Head { status: view.status(), is_interim: view.is_interim(), switches: false, until_close: false })
    }
}

impl Source for Endpoint<'_> {
    fn ready(&mut self) -> Result<&[u8], SourceError> {
        self.inflow.as_ref().map_or(Ok(b""), Inflow::ready)
    }

    fn consume(&mut self, count: usize) {
        if let Some(inflow) = &mut self.inflow {
            inflow.consume(count);
        }
    }

    fn take(&mut self, most: usize) -> Bytes {
        self.inflow.as_mut().map_or_else(Bytes::new, |inflow| inflow.take(most))
    }

    fn is_complete(&self) -> bool {
        self.inflow.as_ref().is_some_and(Inflow::is_complete)
    }

    fn trailers(&self) -> &[u8] {
        self.inflow.as_ref().map_or(b"", Inflow::trailers)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SourceError>> {
        match &mut self.inflow {
            Some(inflow) => inflow.poll_read(cx),
            None => Poll::Ready(Err(SourceError::Io)),
        }
    }
}

impl Sink for Endpoint<'_> {
    fn poll_send(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?;
        match &mut self.outflow {
            Some(outflow) => outflow.poll_send(cx, body),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?;
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
        ready!(self.poll_open(cx))?;
        self.outflow.as_mut().map_or(Poll::Ready(Ok(())), |outflow| outflow.poll_flush(cx))
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &[u8]) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?;
        self.outflow.as_mut().map_or(Poll::Ready(Ok(())), |outflow| outflow.poll_finish(cx, trailers))
    }
}

impl Upstream for Endpoint<'_> {
    const FRAMED: bool = false;

    fn has_sent(&self) -> bool {
        self.seen
    }

    fn body_received(&self) -> u64 {
        self.inflow.as_ref().map_or(0, Inflow::received)
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, HeadError>> {
        let closed = HeadError::Closed { early: true };
        if matches!(self.state, State::Unsent) {
            // What it says is known from the state.
            let _ = ready!(self.poll_open(cx));
        }
        let response = match &mut self.state {
            State::Waiting(response) => response,
            State::Unsendable(refusal) => return Poll::Ready(Err(HeadError::Unsendable(*refusal))),
            State::Unsent | State::Over => return Poll::Ready(Err(closed)),
        };
        let head_only = self.asked.head_only;
        self.head.clear();
        if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            let written = head::write_response(&interim, false, head_only, &mut self.head);
            return Poll::Ready(written.map_err(HeadError::Bad).and_then(|()| self.read_head()));
        }
        match ready!(Pin::new(response).poll(cx)) {
            Ok(response) => {
                self.state = State::Over;
                let ends = response.body().is_end_stream();
                let written = head::write_response(&response, ends, head_only, &mut self.head);
                self.inflow = Some(Inflow::new(response.into_body(), Sender::Endpoint, u64::MAX));
                Poll::Ready(written.map_err(HeadError::Bad).and_then(|()| self.read_head()))
            }
            Err(error) => Poll::Ready(Err(self.fail(&error))),
        }
    }

    fn with_head<T>(&self, look: impl FnOnce(ResponseView<'_>) -> T) -> T {
        look(self.responses.borrow().view(&self.head))
    }

    fn pass_head(&mut self, _: Coding) {
        // The body comes as its payload, however it is wanted.
    }
}

impl Drop for Endpoint<'_> {
    fn drop(&mut self) {
        buffer::give_out(std::mem::take(&mut self.head));
    }
}

// === impl State ===

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unsent => "Unsent",
            Self::Waiting(_) => "Waiting",
            Self::Over => "Over",
            Self::Unsendable(_) => "Unsendable",
        })
    }
}
