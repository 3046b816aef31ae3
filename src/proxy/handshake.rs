//! Handshakes: from a connection to the same with TLS on it.
//!
//! A handshake is the dearest thing that a stranger can ask for. So how many are in progress is bounded, so is the time
//! that one may take, and their cryptography is done in [turns](super::turns).

use std::{io, sync::Arc};

use rustls::{Error, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::{
    Stream,
    connect::Connect,
    linger::linger,
    timer::{Idleness, until_fired},
    worker::Worker,
};

/// A handshake in progress, counted until it is dropped.
struct InProgress<'w, C: Connect>(&'w Worker<C>);

/// Makes the handshake of a connection. None where there is no connection left to serve: the client was told so, as far
/// as it would listen.
pub(crate) async fn handshake<C: Connect>(
    worker: &Worker<C>,
    config: Arc<ServerConfig>,
    socket: TcpStream,
) -> Option<Stream> {
    let Some(_in_progress) = InProgress::enter(worker) else {
        worker.meters.count_handshake("refused");
        return None;
    };
    let timer = worker.clock.timer();
    timer.wake_this_task().await;
    timer.set(worker.config.handshake_timeout);
    timer.set_idleness(Idleness::Fresh);
    let accepting = worker.turns.take(TlsAcceptor::from(config).accept(socket).into_fallible());
    match until_fired(&timer, accepting).await {
        Some(Ok(stream)) => {
            worker.meters.count_handshake("ok");
            Some(Stream::Tls(Box::new(stream.into())))
        }
        Some(Err((error, mut socket))) => {
            let label = label(&error);
            worker.meters.count_handshake(label);
            debug!(%error, label, "a handshake failed");
            if label != CLOSED {
                // An alert says why; a reset for what the client has sent after that must not overtake it.
                Box::pin(linger(&mut socket, &timer)).await;
            }
            None
        }
        None => {
            worker.meters.count_handshake("timeout");
            None
        }
    }
}

const CLOSED: &str = "closed";

/// Why a handshake failed, as a metric label: one of a bounded set.
fn label(error: &io::Error) -> &'static str {
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else { return CLOSED };
    match error {
        // The client does not like us: our certificate, most often.
        Error::AlertReceived(_) => "alert",
        Error::PeerIncompatible(_) => "incompatible",
        // Plain HTTP, for one.
        Error::InvalidMessage(_) => "not_tls",
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } | Error::PeerMisbehaved(_) => {
            "misbehaved"
        }
        _ => "other",
    }
}

// === impl InProgress ===

impl<'w, C: Connect> InProgress<'w, C> {
    /// None where there are as many as may be.
    fn enter(worker: &'w Worker<C>) -> Option<Self> {
        let count = worker.handshakes.get();
        (count < worker.config.handshakes).then(|| {
            worker.handshakes.set(count + 1);
            Self(worker)
        })
    }
}

impl<C: Connect> Drop for InProgress<'_, C> {
    fn drop(&mut self) {
        self.0.handshakes.set(self.0.handshakes.get() - 1);
    }
}
