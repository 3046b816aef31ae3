//! A way to the API server that can be closed: the gateway is cut off while others go on.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time,
};

use crate::control_plane::{ControlPlane, User};

/// What becomes of those who come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Open,
    /// Connections are closed, old and new.
    Closed,
    /// Nothing passes, and nobody is told.
    Silent,
}

/// A way to the API server.
pub(crate) struct Gate {
    /// Leads through here.
    pub(crate) kubeconfig: PathBuf,
    way: watch::Sender<Way>,
    _passing: JoinSet<()>,
}

// === impl Gate ===

impl Gate {
    pub(crate) async fn open(control_plane: &ControlPlane) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (way, seen) = watch::channel(Way::Open);
        let mut passing = JoinSet::new();
        passing.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                connections.spawn(pass(stream, seen.clone()));
            }
        });
        let kubeconfig = control_plane.kubeconfig_at(User::Serin, port);
        Self { kubeconfig, way, _passing: passing }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

/// Lets a connection pass for as long as the way is what it was.
async fn pass(mut stream: TcpStream, mut way: watch::Receiver<Way>) {
    let now = *way.borrow_and_update();
    match now {
        Way::Closed => {}
        Way::Silent => {
            let _ = way.changed().await;
        }
        Way::Open => {
            let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, 6443)).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut stream, &mut server) => {}
                _ = way.changed() => {
                    if *way.borrow_and_update() == Way::Silent {
                        // Whoever waits goes on waiting, also when the way is open again.
                        time::sleep(Duration::from_secs(3600)).await;
                    }
                }
            }
        }
    }
}
