//! The kernel's queue of connections at the end. Over TLS a client would wait for a handshake before it asks.

use std::{
    io,
    sync::{Arc, Mutex, mpsc},
};

use super::harness::*;
use crate::{
    lifecycle::Phase,
    proxy::{Connect, Stream, Tcp},
    tls::Connector,
    upstream,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// Holds up its worker, with all that it does, until nobody has the other end any more.
#[derive(Clone)]
struct HoldsUp {
    held: mpsc::Sender<()>,
    until: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Connect for HoldsUp {
    type Stream = Stream;

    async fn connect(&self, endpoint: &upstream::Endpoint, tls: Option<&Connector>) -> io::Result<Stream> {
        let _ = self.held.send(());
        let _ = self.until.lock().unwrap().recv();
        Tcp.connect(endpoint, tls).await
    }

    fn is_open(stream: &Stream) -> bool {
        Tcp::is_open(stream)
    }
}

#[test]
fn who_is_in_the_queue_is_served() {
    let endpoint = Endpoint::ok();
    let (held, is_held) = mpsc::channel();
    let (hold, until) = mpsc::channel();
    let connect = HoldsUp { held, until: Arc::new(Mutex::new(until)) };
    let mut gateway = Gateway::start(Setup::default(), &[endpoint.address], &connect);
    let mut lines = vec![gateway.connect()];
    lines[0].send(GET);
    is_held.recv().unwrap();

    // The only worker accepts nobody now: these wait in the kernel's queue.
    for _ in 0..50 {
        lines.push(gateway.connect());
    }
    for line in &mut lines[1..] {
        line.send(GET);
    }
    gateway.drainer.advance(Phase::Closing);
    drop(hold);
    for line in &mut lines {
        assert_eq!(line.answer(true).status(), 200);
    }
    gateway.join();
}
