//! The server: bounded connections, each for one request and for a limited time.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::Admin;
use crate::lifecycle::Drain;

/// How many clients are served at once; the others wait. Far more than may be shown something long at once, so that slow
/// readers of that leave room for probes.
const CONNECTIONS: usize = 1024;

/// How long a client may take to send the head of its request.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a client may take in all.
const TIME: Duration = Duration::from_secs(60);

/// The most bytes of a head.
const HEAD_LIMIT: usize = 16 << 10;

/// How long to wait where the system has no more descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves on `listeners` until the drain has ended: who asks how the end goes on gets an answer.
pub async fn serve(listeners: Vec<TcpListener>, admin: Admin, drain: Drain) {
    let admin = Arc::new(admin);
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, admin.clone(), free.clone()));
    }
    tokio::select! {
        // Only a panic ends it before.
        _ = accepting.join_next() => {}
        () = drain.ended() => {}
    }
}

async fn accept(listener: TcpListener, admin: Arc<Admin>, free: Arc<Semaphore>) {
    // The semaphore is never closed.
    while let Ok(permit) = free.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let admin = admin.clone();
                tokio::spawn(async move {
                    if timeout(TIME, answer(stream, &admin)).await.is_err() {
                        debug!("a client of the admin port took too long");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "the admin port cannot accept a connection");
                sleep(BACK_OFF).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, admin: &Arc<Admin>) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(admin.answer(request).await) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_LIMIT)
        // A connection for each request keeps none occupied by idle clients.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "a connection to the admin port broke");
    }
}
