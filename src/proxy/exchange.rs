//! One try of one request: its body goes to the endpoint, the answer comes back, both at once.
//!
//! An answer may come while the request is still being sent, and may end before it. Interim answers are passed on as
//! they come. Nothing is read that cannot be sent: a slow side slows the other down, and a body of any length takes the
//! memory of one buffer.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    pump::{Broken, Pump, Side},
    replay::Replay,
    reply::Reply,
    seam::{Downstream, Head, HeadError, SourceError, Upstream},
    timer::{Deadline, Timer},
};
use crate::http::{BadBody, Malformed, Refusal};

/// How many interim answers are passed on.
const MOST_INTERIM: u64 = 64;

/// How long the sides may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The endpoint: between two pieces that it takes.
    pub(crate) send: Duration,
    /// The endpoint: until its answer, and between two pieces of it.
    pub(crate) read: Duration,
    /// The client: between two pieces that it takes.
    pub(crate) write: Duration,
    /// The client: for its whole body, and a second more for each `body_rate` bytes of it.
    pub(crate) body: Duration,
    pub(crate) body_rate: u64,
}

/// How an exchange ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The answer was passed on whole.
    Complete,
    /// The head of a 101 was passed on: what follows is a tunnel.
    Switched,
    /// The endpoint gave no answer, or one that is to be sought elsewhere; the client was sent nothing of it.
    Unanswered(Failure),
    /// The client did not send what it has to, or what can be sent on, or gives it no more time; it was sent nothing.
    Refused(Refusal),
    /// The answer broke off. The client must see that it is not whole: its connection must be cut.
    Truncated,
    /// The client has left, or does not take the answer.
    Gone,
}

/// Why an endpoint gave no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not be connected to.
    Connect,
    /// It could not be connected to in time.
    ConnectTimeout,
    /// It was not connected to, since something ran out here: files, ports, memory.
    Shortage,
    /// It ended the connection, before any byte of an answer where `early`.
    Closed { early: bool },
    /// It said that it has done nothing with the request.
    Refused,
    /// It did not take the request or did not answer in time.
    Timeout,
    /// What it answered is not HTTP.
    Invalid(Refusal),
    /// It answered with a status that asks for another try.
    Status(u16),
}

/// A try under way.
pub(crate) struct Exchange<'a, 'w, D, U> {
    pub(crate) down: &'a mut D,
    pub(crate) up: &'a mut U,
    pub(crate) timer: &'a Timer,
    pub(crate) patience: &'a Patience,
    /// When all of it must be over, by the client's own word.
    pub(crate) deadline: Deadline,
    pub(crate) replay: &'a mut Replay,
    pub(crate) reply: &'a mut Reply<'w>,
    progress: Progress,
}

/// How far a try has come.
#[derive(Debug, Default)]
struct Progress {
    request: Pump,
    request_state: RequestState,
    head: Option<Head>,
    response: Pump,
    /// Interim answers so far.
    interim: u64,
    on_request: Watch,
    on_response: Watch,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum RequestState {
    #[default]
    Sending,
    Sent,
    /// The endpoint takes no more of it. It may have answered before that, so the answer is read first.
    Broken,
}

/// What one direction waits for, and until when.
#[derive(Debug)]
struct Watch {
    wait: Wait,
    /// How far the direction had come when the wait began.
    moved: u64,
    deadline: Deadline,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// For nobody who could be late.
    Nobody,
    /// For the client's body.
    Body,
    /// For the endpoint to take the request.
    Send,
    /// For the endpoint's answer.
    Read,
    /// For the client to take the answer.
    Write,
}

// === impl Exchange ===

impl<'a, 'w, D: Downstream, U: Upstream> Exchange<'a, 'w, D, U> {
    pub(crate) fn new(
        down: &'a mut D,
        up: &'a mut U,
        timer: &'a Timer,
        patience: &'a Patience,
        deadline: Deadline,
        replay: &'a mut Replay,
        reply: &'a mut Reply<'w>,
    ) -> Self {
        Self { down, up, timer, patience, deadline, replay, reply, progress: Progress::default() }
    }

    /// Whether all of the request was sent.
    pub(crate) fn request_is_sent(&self) -> bool {
        self.progress.request_state == RequestState::Sent
    }

    /// Moves what can be moved. A client that has ended its half of the connection counts as gone, as with nginx.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.timer.has_fired()
            && let Some(ended) = self.overdue()
        {
            return Poll::Ready(ended);
        }
        if let Poll::Ready(ended) = self.poll_request(cx) {
            return Poll::Ready(ended);
        }
        if let Poll::Ready(ended) = self.poll_response(cx) {
            return Poll::Ready(ended);
        }
        // A client whose body is being read says so there.
        let waits_for_endpoint = self.request_is_sent() || self.progress.request.waits_for == Side::Sink;
        if waits_for_endpoint && self.down.poll_gone(cx).is_ready() {
            return Poll::Ready(Ended::Gone);
        }
        self.watch();
        Poll::Pending
    }

    /// Sends the request on. Ready only where that ends the exchange.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.progress.request_state != RequestState::Sending {
            return Poll::Pending;
        }
        while !self.replay.rest().is_empty() {
            self.progress.request.waits_for = Side::Sink;
            match ready!(self.up.poll_send(cx, self.replay.rest())) {
                Ok(sent) => {
                    self.progress.request.moved += sent as u64;
                    self.replay.advance(sent);
                }
                Err(_) => {
                    self.progress.request_state = RequestState::Broken;
                    return Poll::Pending;
                }
            }
        }
        let replay = &mut *self.replay;
        match ready!(self.progress.request.poll(cx, self.down, self.up, |piece| replay.record(piece))) {
            Ok(()) => self.progress.request_state = RequestState::Sent,
            Err(Broken::Sink) => self.progress.request_state = RequestState::Broken,
            Err(Broken::Source(error)) => return Poll::Ready(self.request_broke(&error)),
        }
        Poll::Pending
    }

    /// Passes the answer on. Ready only where that ends the exchange.
    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let head = loop {
            if let Some(head) = self.progress.head {
                break head;
            }
            // Interim answers do not wait for the final one, and do not pile up before a client that reads nothing.
            if self.progress.interim > 0 && ready!(self.down.poll_flush(cx)).is_err() {
                return Poll::Ready(Ended::Gone);
            }
            match self.up.poll_head(cx) {
                Poll::Ready(Ok(head)) if head.is_interim => {
                    if self.progress.interim == MOST_INTERIM {
                        let refusal = Refusal::BadUpstream(Malformed::Status);
                        return Poll::Ready(Ended::Unanswered(Failure::Invalid(refusal)));
                    }
                    self.pass_interim();
                }
                Poll::Ready(Ok(head)) if self.reply.holds_back(head.status, self.replay.is_possible()) => {
                    return Poll::Ready(Ended::Unanswered(Failure::Status(head.status)));
                }
                Poll::Ready(Ok(head)) if !head.switches && self.down.asked().mistakes(head.status) => {
                    let refusal = Refusal::BadUpstream(Malformed::Upgrade);
                    return Poll::Ready(Ended::Unanswered(Failure::Invalid(refusal)));
                }
                Poll::Ready(Ok(head)) => {
                    self.pass_head();
                    self.progress.head = Some(head);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Pending => return Poll::Pending,
            }
        };
        if head.switches {
            self.progress.response.waits_for = Side::Sink;
            let flushed = ready!(self.down.poll_flush(cx));
            return Poll::Ready(if flushed.is_ok() { Ended::Switched } else { Ended::Gone });
        }
        Poll::Ready(match ready!(self.progress.response.poll(cx, self.up, self.down, |_| {})) {
            Ok(()) => Ended::Complete,
            Err(Broken::Source(_)) => Ended::Truncated,
            Err(Broken::Sink) => Ended::Gone,
        })
    }

    fn pass_interim(&mut self) {
        let down = &mut *self.down;
        let coding = self.up.with_head(|head| Reply::pass_interim(down, head));
        self.up.pass_head(coding);
        self.progress.interim += 1;
    }

    fn pass_head(&mut self) {
        let request_is_sent = self.request_is_sent();
        let (down, reply) = (&mut *self.down, &mut *self.reply);
        let coding = self.up.with_head(|head| reply.pass(down, head, request_is_sent, U::FRAMED));
        self.up.pass_head(coding);
    }

    /// What it means that the client does not go on with its body.
    fn request_broke(&self, error: &SourceError) -> Ended {
        if self.progress.head.is_some() {
            return Ended::Gone;
        }
        match error {
            SourceError::TooLarge => Ended::Refused(Refusal::BodyTooLarge),
            SourceError::Bad(BadBody::Chunk) => Ended::Refused(Refusal::BadRequest(Malformed::Chunk)),
            SourceError::Bad(BadBody::Trailer) => Ended::Refused(Refusal::BadRequest(Malformed::Trailer)),
            SourceError::Bad(BadBody::Truncated) | SourceError::Io => Ended::Gone,
        }
    }

    /// Arms the timer for what is waited for, where that has changed.
    fn watch(&mut self) {
        let Progress { request, request_state, head, response, interim, on_request, on_response } = &mut self.progress;
        let wait_on_request = match (*request_state, request.waits_for) {
            // One whose request is being answered may be silent: it may be listening, as in gRPC.
            (RequestState::Sending, Side::Source) if head.is_some() => Wait::Nobody,
            (RequestState::Sending, Side::Source) => Wait::Body,
            (RequestState::Sending, Side::Sink) => Wait::Send,
            _ => Wait::Nobody,
        };
        let wait_on_response = match (&head, response.waits_for) {
            // An endpoint need not answer before it has the request.
            (None, _) if *request_state == RequestState::Sending => Wait::Nobody,
            (None, _) | (_, Side::Source) => Wait::Read,
            (_, Side::Sink) => Wait::Write,
        };
        // And an endpoint that is told more may be listening, too. Where neither says anything, it is late. A client that
        // takes nothing is, whatever it says.
        let told = if head.is_some() && wait_on_response == Wait::Read { request.moved } else { 0 };
        let changed = on_request.update(wait_on_request, request.moved, self.timer, self.patience)
            | on_response.update(wait_on_response, response.moved + *interim + told, self.timer, self.patience);
        if changed {
            self.timer.arm(on_request.deadline.min(on_response.deadline).min(self.deadline));
        }
    }

    /// Who is late: all, where the gateway itself is at its end.
    fn overdue(&self) -> Option<Ended> {
        let Progress { head, on_request, on_response, .. } = &self.progress;
        let clock = self.timer.clock();
        let all_is_over = if self.reply.drain.has_ended() {
            Some(Refusal::ShuttingDown)
        } else {
            clock.has_passed(self.deadline).then_some(Refusal::DeadlineExceeded)
        };
        if let Some(refusal) = all_is_over {
            return Some(if head.is_none() { Ended::Refused(refusal) } else { Ended::Truncated });
        }
        let late = [on_request, on_response].into_iter().find(|watch| clock.has_passed(watch.deadline))?;
        Some(match (late.wait, head) {
            (Wait::Nobody, _) => return None,
            (Wait::Body, None) => Ended::Refused(Refusal::ClientTimeout),
            (Wait::Send | Wait::Read, None) => Ended::Unanswered(Failure::Timeout),
            (Wait::Send | Wait::Read, Some(_)) => Ended::Truncated,
            (Wait::Body | Wait::Write, _) => Ended::Gone,
        })
    }
}

// === impl Ended ===

impl From<HeadError> for Ended {
    fn from(error: HeadError) -> Self {
        Self::Unanswered(match error {
            HeadError::Closed { early } => Failure::Closed { early },
            HeadError::Refused => Failure::Refused,
            HeadError::Bad(refusal) => Failure::Invalid(refusal),
            HeadError::Unsendable(refusal) => return Self::Refused(refusal),
        })
    }
}

// === impl Failure ===

impl Failure {
    /// What the client is told, where no other endpoint answers.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Connect => Refusal::ConnectFailed,
            Self::ConnectTimeout => Refusal::ConnectTimeout,
            Self::Shortage => Refusal::Overloaded,
            Self::Closed { .. } | Self::Refused | Self::Status(_) => Refusal::UpstreamReset,
            Self::Timeout => Refusal::UpstreamTimeout,
            Self::Invalid(refusal) => *refusal,
        }
    }

    /// The status that stands for it in logs.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Status(status) => *status,
            _ => self.refusal().status(),
        }
    }
}

// === impl Watch ===

impl Watch {
    /// Sets the deadline anew where the direction waits for something else or has moved. Returns whether it did.
    fn update(&mut self, wait: Wait, moved: u64, timer: &Timer, patience: &Patience) -> bool {
        if wait == self.wait && moved == self.moved {
            return false;
        }
        let clock = timer.clock();
        self.deadline = match wait {
            Wait::Nobody => Deadline::NEVER,
            Wait::Send => clock.deadline(patience.send),
            Wait::Read => clock.deadline(patience.read),
            Wait::Write => clock.deadline(patience.write),
            // What came since the wait began moves the deadline that there was, so that a dripping body meets it; but no
            // further than from now, so that one which came fast and then stops meets it as well. After the endpoint was
            // waited for, the client has all its time again.
            Wait::Body if self.wait == Wait::Body => {
                let earned = Duration::from_millis((moved - self.moved) * 1000 / patience.body_rate.max(1));
                self.deadline.later(earned).min(clock.deadline(patience.body))
            }
            Wait::Body => clock.deadline(patience.body),
        };
        self.wait = wait;
        self.moved = moved;
        true
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self { wait: Wait::Nobody, moved: 0, deadline: Deadline::NEVER }
    }
}
