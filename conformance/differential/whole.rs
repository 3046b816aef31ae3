//! The whole gateway: the program itself, and what reaches an endpoint behind it.
//!
//! Who half-closes a connection has left, for us. So the client's side stays open, and where another request may follow,
//! one does that wants the connection to end.

use super::{
    peers::{PATIENCE, drain},
    seen::{End, Reading, Seen},
    teller::{Teller, answers},
};
use crate::{
    gateway::Gateway,
    manifests::{self, Manifests},
};
use serde_json::json;
use serin::http::{Asked, Limits, Response};
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

/// A running gateway before an endpoint that tells.
pub(crate) struct Whole {
    gateway: Gateway,
    teller: Teller,
    _manifests: Manifests,
}

/// The request that ends a connection.
const LAST: &[u8] = b"GET /that-is-all HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

// === impl Whole ===

impl Whole {
    /// Starts a gateway that sends every request of every host to the endpoint.
    pub(crate) fn start() -> Self {
        let teller = Teller::start();
        let manifests = Manifests::new();
        let mut ingress = manifests::catch_all("teller");
        ingress["metadata"]["annotations"] = json!({ "nginx.ingress.kubernetes.io/proxy-body-size": "0" });
        manifests.write_objects("objects.json", &[manifests::service("default", "teller"), ingress]);
        let endpoint = format!("default/teller:80={}", teller.address);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let gateway = runtime.block_on(Gateway::start(manifests.path(), &["--endpoint", &endpoint]));
        Self { gateway, teller, _manifests: manifests }
    }

    /// What the client is told of the bytes of a connection, and what reaches the endpoint. `ours` is what we should read:
    /// it says how long to wait for what.
    pub(crate) fn read(&self, bytes: &[u8], ours: &Reading) -> [Reading; 2] {
        let mut stream = TcpStream::connect(self.gateway.http).expect("the gateway accepts");
        stream.set_nodelay(true).expect("the socket can be changed");
        stream.set_read_timeout(Some(PATIENCE)).expect("the socket takes a timeout");
        // The gateway may have closed before it took everything.
        let _ = stream.write_all(bytes);
        let mut answered = Vec::new();
        if ours.end == End::Open {
            let _ = stream.write_all(LAST);
        } else if ours.end == End::Partial {
            // Nothing ends the connection but our leaving, which must not take whole requests with it.
            let mut buffer = [0; 4096];
            while count(&answered) < ours.requests.len() {
                match stream.read(&mut buffer).expect("the gateway answers") {
                    0 => break,
                    read => answered.extend_from_slice(&buffer[..read]),
                }
            }
            let _ = stream.shutdown(Shutdown::Write);
        }
        answered.extend(drain(&mut stream));

        let told = answers(&answered);
        let reached = Reading { requests: self.teller.take(), end: told.end.clone() };
        [told, reached].map(|mut reading| {
            if ours.end == End::Open && reading.requests.pop_if(|last| last.target == b"/that-is-all").is_some() {
                reading.end = End::Open;
            } else if ours.end == End::Partial && reading.end == End::Open {
                reading.end = End::Partial;
            }
            reading
        })
    }

    /// Ends the gateway, and gives what still reached the endpoint after the last answer was there.
    pub(crate) fn end(self) -> Vec<Seen> {
        let Self { gateway, teller, .. } = self;
        drop(gateway);
        teller.join();
        teller.take()
    }
}

/// How many final answers there are.
fn count(mut bytes: &[u8]) -> usize {
    let mut head = Response::new();
    let mut count = 0;
    while let Ok(Some(length)) = head.read(bytes, Asked::default(), &Limits::RESPONSE) {
        count += usize::from(!head.view(bytes).is_interim());
        bytes = &bytes[length..];
    }
    count
}
