//! Looks at the gateway as its clients do, again and again, until it shows what is looked for.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{runtime::Runtime, task, time::Instant};

use crate::{
    client::{Client, PATIENCE, Request},
    process::pause,
    tls::Trust,
};

/// How long nothing is asked after each answer, so that asking leaves the cores to others.
const PAUSE: Duration = Duration::from_micros(200);

/// What can be seen.
#[derive(Clone, Debug)]
pub enum Sight {
    /// A request is answered by this endpoint.
    Backend(Request, &'static str),
    /// A handshake for a host shows this certificate.
    Certificate(&'static str, Vec<u8>),
}

/// Who looks. It has a thread and a runtime of its own while it does, so that nothing else holds it up.
pub struct Watcher {
    runtime: Runtime,
    https: SocketAddr,
    trust: Arc<Trust>,
    client: Client,
    looks: u32,
    looked: Duration,
}

// === impl Watcher ===

impl Watcher {
    /// Connects to a gateway that serves at these addresses.
    pub async fn new(http: SocketAddr, https: SocketAddr, trust: Arc<Trust>) -> io::Result<Self> {
        aside(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let client = runtime.block_on(Client::connect(http))?;
            Ok(Self { runtime, https, trust, client, looks: 0, looked: Duration::ZERO })
        })
        .await
    }

    /// Looks until the sight is there, and tells since when it is.
    pub async fn until(mut self, sight: Sight) -> io::Result<(Self, Instant)> {
        aside(move || {
            let began = Instant::now();
            loop {
                let seen = self.runtime.block_on(look(&mut self.client, self.https, &self.trust, &sight))?;
                self.looks += 1;
                let now = Instant::now();
                if seen {
                    self.looked += now - began;
                    return Ok((self, now));
                }
                if now > began + PATIENCE {
                    return Err(io::Error::other(format!("not seen within {PATIENCE:?}: {sight:?}")));
                }
                pause(PAUSE);
            }
        })
        .await
    }

    /// From one look to the next, in milliseconds.
    pub fn interval(&self) -> f64 {
        self.looked.as_secs_f64() * 1e3 / f64::from(self.looks)
    }

    /// Ends it where a runtime may end.
    pub async fn end(self) -> io::Result<()> {
        aside(move || {
            drop(self);
            Ok(())
        })
        .await
    }
}

async fn look(client: &mut Client, https: SocketAddr, trust: &Trust, sight: &Sight) -> io::Result<bool> {
    match sight {
        Sight::Backend(request, name) => Ok(client.exchange(request).await?.backend() == Some(name)),
        Sight::Certificate(host, certificate) => {
            let stream = trust.connect_offering(https, host, b"http/1.1").await?;
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            Ok(shown.is_some_and(|shown| shown.as_ref() == certificate))
        }
    }
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    task::spawn_blocking(work).await.map_err(io::Error::other)?
}
