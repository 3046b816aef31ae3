//! Tunnels: after an upgrade, bytes go both ways until both sides have ended.
//!
//! An end of one side is passed on to the other, which may go on talking. A tunnel ends when nothing moved in either
//! direction for the idle time, since half of a connection may vanish without a word.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    buffer::{Buffer, Size},
    timer::Timer,
};

/// How a tunnel ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TunnelEnd {
    /// Both sides ended it.
    Closed,
    /// A side broke.
    Broken,
    /// Nothing moved for the idle time.
    Idle,
}

/// What went through a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tunnelled {
    pub(crate) end: TunnelEnd,
    /// Bytes from the client to the endpoint.
    pub(crate) received: u64,
    /// Bytes from the endpoint to the client.
    pub(crate) sent: u64,
}

/// One direction.
struct Way {
    buffer: Buffer,
    moved: u64,
    state: WayState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WayState {
    Open,
    /// The source has ended; the buffer is to be sent and the sink to be told.
    Ending,
    Ended,
}

/// Passes bytes between two streams until both have ended. What was read already of each is in its buffer.
pub(crate) async fn tunnel<D, U>(
    client: &mut D,
    from_client: Buffer,
    endpoint: &mut U,
    from_endpoint: Buffer,
    timer: &Timer,
    idle: Duration,
) -> Tunnelled
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Way::new(from_client);
    let mut down = Way::new(from_endpoint);
    timer.set(idle);
    let end = poll_fn(|cx| {
        if timer.has_fired() {
            return Poll::Ready(TunnelEnd::Idle);
        }
        let before = (up.moved, down.moved);
        let polled = (up.poll(cx, client, endpoint), down.poll(cx, endpoint, client));
        match polled {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(TunnelEnd::Broken),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(TunnelEnd::Closed),
            _ => {}
        }
        if before != (up.moved, down.moved) {
            timer.set(idle);
        }
        Poll::Pending
    })
    .await;
    Tunnelled { end, received: up.moved, sent: down.moved }
}

// === impl Way ===

impl Way {
    fn new(mut buffer: Buffer) -> Self {
        buffer.resize(Size::Small);
        Self { buffer, moved: 0, state: WayState::Open }
    }

    fn poll<S, K>(&mut self, cx: &mut Context<'_>, source: &mut S, sink: &mut K) -> Poll<io::Result<()>>
    where
        S: AsyncRead + Unpin,
        K: AsyncWrite + Unpin,
    {
        loop {
            while !self.buffer.is_empty() {
                let written = ready!(Pin::new(&mut *sink).poll_write(cx, self.buffer.bytes()))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.buffer.consume(written);
                self.moved += written as u64;
            }
            match self.state {
                WayState::Open => match self.buffer.poll_fill(cx, source, 0) {
                    Poll::Ready(Ok(0)) => self.state = WayState::Ending,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        ready!(Pin::new(&mut *sink).poll_flush(cx))?;
                        return Poll::Pending;
                    }
                },
                WayState::Ending => {
                    self.buffer.release();
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx))?;
                    self.state = WayState::Ended;
                }
                WayState::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::proxy::timer::Clock;

    /// A tunnel between two streams; gives their far ends and the tunnel's result.
    fn run<F: Future<Output = ()>>(idle: Duration, act: impl FnOnce(DuplexStream, DuplexStream) -> F) -> Tunnelled {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let clock = Clock::new();
            let sweeping = Rc::clone(&clock);
            tokio::task::spawn_local(async move { sweeping.run(|| {}).await });
            let (client, mut near_client) = duplex(64);
            let (endpoint, mut near_endpoint) = duplex(64);
            let timer = clock.timer();
            let tunnelling = async move {
                timer.wake_this_task().await;
                let (up, down) = (Buffer::new(Size::Small), Buffer::new(Size::Large));
                let tunnelled = tunnel(&mut near_client, up, &mut near_endpoint, down, &timer, idle).await;
                drop((near_client, near_endpoint));
                tunnelled
            };
            // Polled by one task, as a connection polls it.
            let tunnelling = tokio::task::spawn_local(tunnelling);
            act(client, endpoint).await;
            tunnelling.await.unwrap()
        })
    }

    #[test]
    fn each_side_may_end_first_and_still_hear_the_other() {
        let tunnelled = run(Duration::from_secs(60), |mut client, mut endpoint| async move {
            client.write_all(b"last words").await.unwrap();
            client.shutdown().await.unwrap();
            let mut heard = String::new();
            endpoint.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "last words");
            endpoint.write_all(&[b'x'; 100]).await.unwrap_or_else(|_| panic!("the way back is open"));
            drop(endpoint);
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer.len(), 100);
        });
        assert_eq!(tunnelled, Tunnelled { end: TunnelEnd::Closed, received: 10, sent: 100 });
    }

    #[test]
    fn a_tunnel_in_which_nothing_moves_ends() {
        let tunnelled = run(Duration::from_secs(10), |mut client, mut endpoint| async move {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(8)).await;
                endpoint.write_all(b"ping").await.unwrap();
                client.read_exact(&mut [0; 4]).await.unwrap();
            }
            assert_eq!(client.read(&mut [0; 4]).await.unwrap(), 0);
        });
        assert_eq!(tunnelled, Tunnelled { end: TunnelEnd::Idle, received: 0, sent: 20 });
    }
}
