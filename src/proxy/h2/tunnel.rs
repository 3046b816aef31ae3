//! A client's stream as a tunnel (RFC 8441): what its frames hold, as bytes in both directions.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::{Inflow, Outflow};

/// A stream as a tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel {
    inflow: Inflow,
    outflow: Outflow,
}

// === impl Tunnel ===

impl Tunnel {
    pub(crate) fn new(inflow: Inflow, outflow: Outflow) -> Self {
        Self { inflow, outflow }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let broken = |_| io::Error::from(io::ErrorKind::ConnectionReset);
        loop {
            let ready = self.inflow.ready().map_err(broken)?;
            if !ready.is_empty() {
                let count = ready.len().min(buffer.remaining());
                buffer.put_slice(&ready[..count]);
                self.inflow.consume(count);
                return Poll::Ready(Ok(()));
            }
            if self.inflow.is_complete() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.inflow.poll_read(cx)).map_err(broken)?;
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outflow.poll_send(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outflow.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outflow.poll_finish(cx, b"")
    }
}
