//! Closing a connection on which the client may still be sending.
//!
//! Closing a socket with unread bytes makes the kernel reset the connection, and a reset can overtake the answer. So our
//! side is shut first, and for a while what still comes is read and forgotten.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    buffer::{Buffer, Size},
    timer::Timer,
};

/// How long at most.
pub(crate) const LONGEST: Duration = Duration::from_secs(5);
/// How many bytes at most.
pub(crate) const MOST: usize = 4 << 20;

/// Shuts our side of `stream` and reads the other until it ends, too.
pub(crate) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, timer: &Timer) {
    timer.set(LONGEST);
    let mut buffer = Buffer::new(Size::Small);
    let mut read = 0;
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
        while read < MOST && !timer.has_fired() {
            match buffer.poll_fill(cx, stream, 0) {
                Poll::Ready(Ok(count @ 1..)) => {
                    read += count;
                    buffer.consume(count);
                }
                Poll::Ready(_) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    })
    .await;
}
