//! Accepting connections, and isolating them from each other.

use std::{
    any::Any,
    future::poll_fn,
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream};
use tracing::{error, warn};

use super::{
    buffer::Buffer,
    caller::{Caller, Door},
    connect::Connect,
    h1, h2,
    handshake::handshake,
    introduction::introduce,
    listen,
    worker::Worker,
};
use crate::{
    http::{Asked, Refusal, write_refusal},
    metrics::{Connection as Counted, Count},
    tls::ServerConfig,
};

/// How long to wait when the process has no file descriptor left.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// Accepts connections and serves each in a task of its own, until the drain begins and nobody is left in the queue.
///
/// They begin with a handshake where there is a configuration for TLS.
pub(crate) async fn accept<C: Connect>(
    worker: Rc<Worker<C>>,
    listener: TcpListener,
    with_tls: Option<Arc<ServerConfig>>,
) {
    // Until the last of its queue is counted itself: before that, the drain must not find that nobody is left.
    let _listening = worker.listeners.enter();
    let port = listener.local_addr().map_or(0, |address| address.port());
    let door = Rc::new(Door::new(port, with_tls));
    let mut draining = pin!(worker.shared.drain.started());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut draining => break,
        };
        take(&worker, &door, accepted).await;
    }
    // Whoever the kernel has let in already must not be turned away. The kernel itself is asked: the reactor may not have
    // heard of them yet. It lets in others all the time, so there is an end.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..listen::BACKLOG {
        let accepted = match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            accepted => accepted.and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, peer))
            }),
        };
        take(&worker, &door, accepted).await;
    }
}

/// Serves a connection that was accepted, or turns it away where there are too many.
async fn take<C: Connect>(worker: &Rc<Worker<C>>, door: &Rc<Door>, accepted: io::Result<(TcpStream, SocketAddr)>) {
    let (stream, peer) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            // One connection may have been closed before it was accepted. Other errors would come at once again.
            if error.kind() != io::ErrorKind::ConnectionAborted {
                warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(OUT_OF_FILES).await;
            }
            return;
        }
    };
    let counted = worker.meters.accept();
    if worker.open.get() >= worker.config.connections {
        worker.meters.count(Count::ConnectionsRefused);
        // To who expects a handshake, an answer in HTTP would be none.
        if door.tls.is_none() {
            turn_away(worker, stream);
        }
        return;
    }
    let _ = stream.set_nodelay(true);
    worker.open.set(worker.open.get() + 1);
    let (worker, door, alive) = (Rc::clone(worker), Rc::clone(door), worker.connections.enter());
    tokio::task::spawn_local(async move {
        let _open = Open { worker: &worker, _alive: alive };
        let serving = pin!(serve(&worker, door, stream, peer, &counted));
        isolated(&worker, peer.ip(), serving).await;
    });
}

/// Tells a client that there are too many, without waiting for it: the answer goes as far as the socket takes it at once.
/// It is the same for all, since no request is read.
fn turn_away<C: Connect>(worker: &Worker<C>, stream: TcpStream) {
    let mut answer = Vec::new();
    let request_id = worker.random_id();
    write_refusal(Refusal::Overloaded, Asked::default(), &request_id, &worker.date(), false, &mut answer);
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(&answer);
        // With a request unread, closing would be a reset, which can overtake the answer.
        let _ = stream.read(&mut [0; 4096]);
    }
}

/// Serves a connection by the protocol that its client has chosen, or turns out to speak.
async fn serve<C: Connect>(
    worker: &Rc<Worker<C>>,
    door: Rc<Door>,
    socket: TcpStream,
    peer: SocketAddr,
    counted: &Counted,
) {
    let mut caller = if worker.config.trust.proxy_protocol {
        // Boxed, so that other connections have no room for it.
        let Some(caller) = Box::pin(introduce(worker, door, peer.ip(), &socket)).await else { return };
        caller
    } else {
        Caller::new(door, peer.ip())
    };
    let stream = match &caller.door.tls {
        None => socket.into(),
        // Boxed, so that a plain connection has no room for it.
        Some(config) => match Box::pin(handshake(worker, config.clone(), socket)).await {
            Some(stream) => stream,
            None => return,
        },
    };
    caller.server_name = stream.server_name().map(Into::into);
    let (stream, before) = match stream.alpn() {
        Some(b"h2") => (stream, Buffer::default()),
        // Without a word of the client's it is HTTP/1, unless it begins with the preface of HTTP/2.
        _ => match h1::serve(worker, &caller, stream, counted).await {
            Some(http2) => http2,
            None => return,
        },
    };
    // Boxed, so that a connection over HTTP/1 has no room for it.
    Box::pin(h2::serve(worker, caller, stream, before, counted)).await;
}

/// Does `work` for a client. A panic ends it, is counted and logged, and nothing else.
///
/// The work is pinned by the caller: what is moved into a future takes its room there twice.
pub(crate) async fn isolated<C: Connect>(
    worker: &Worker<C>,
    client: IpAddr,
    mut work: Pin<&mut impl Future<Output = ()>>,
) {
    let isolated = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(None),
        Err(panic) => Poll::Ready(Some(panic)),
    });
    if let Some(panic) = isolated.await {
        worker.meters.count(Count::Panics);
        error!(%client, panic = message(&*panic), "a request ended in a panic");
    }
}

/// Counts a connection as open.
struct Open<'w, C: Connect> {
    worker: &'w Worker<C>,
    _alive: crate::lifecycle::Alive,
}

impl<C: Connect> Drop for Open<'_, C> {
    fn drop(&mut self) {
        let open = self.worker.open.get() - 1;
        self.worker.open.set(open);
        if open == 0 {
            self.worker.closed.notify_one();
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "of unknown cause",
    }
}
