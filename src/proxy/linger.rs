//! Closing a connection on which the client may still be sending.
//!
//! Closing a socket with unread bytes makes the kernel reset the connection, and a reset can overtake the answer. So our
//! side is shut first, and for a while what still comes is read and forgotten: however much that is, since many clients
//! look for an answer only when all is sent, and a reset would keep them from sending it.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    buffer::{Buffer, Size},
    timer::Timer,
};

/// How long at most (nginx's `lingering_time`).
const LONGEST: Duration = Duration::from_secs(30);
/// How long at most while nothing comes (nginx's `lingering_timeout`).
pub(crate) const QUIET: Duration = Duration::from_secs(5);

/// Shuts our side of `stream` and reads the other until it ends, too.
pub(crate) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, timer: &Timer) {
    let clock = timer.clock();
    let end = clock.deadline(LONGEST);
    timer.set(QUIET);
    let mut buffer = Buffer::new(Size::Small);
    let mut is_shut = false;
    poll_fn(|cx| {
        while !is_shut {
            match Pin::new(&mut *stream).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => is_shut = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending if timer.has_fired() => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        while !timer.has_fired() {
            match buffer.poll_fill(cx, stream, 0) {
                Poll::Ready(Ok(count @ 1..)) => {
                    buffer.consume(count);
                    timer.arm(end.min(clock.deadline(QUIET)));
                }
                Poll::Ready(_) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    })
    .await;
}
