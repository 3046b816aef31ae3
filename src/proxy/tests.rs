//! The proxy as a client and an endpoint see it.
//!
//! What holds for every request is tested over all that clients and endpoints may speak: a suite for each combination,
//! with the same files. A file is written in the text of HTTP/1; [`interpreter`] makes of it what is spoken. What is about
//! HTTP/1 itself on a side is in the suites that speak it there, and what is about HTTP/2 itself in files of its own.

mod harness;
mod interpreter;
mod streams;
mod wire;

/// A suite: the files of some groups, with what is spoken on the two sides.
macro_rules! suite {
    ($name:ident: $client:ident to $endpoint:ident, $($group:ident)+) => {
        #[path = "tests"]
        #[expect(clippy::duplicate_mod, reason = "each suite has the files of its groups")]
        mod $name {
            /// What is spoken here.
            pub(super) struct Here;

            impl super::harness::Over for Here {
                const CLIENT: super::harness::Speaks = super::harness::$client;
                const ENDPOINT: super::harness::Speaks = super::harness::$endpoint;
            }

            mod harness {
                use super::super::harness;
                pub(super) use super::super::harness::*;

                pub(super) type Gateway = harness::Gateway<super::Here>;
                pub(super) type Endpoint = harness::Endpoint<super::Here>;
            }

            $($group!();)+
        }
    };
}

/// What holds for every request.
macro_rules! messages {
    () => {
        #[path = "affinity.rs"]
        mod affinity;
        #[path = "balancing.rs"]
        mod balancing;
        #[path = "bodies.rs"]
        mod bodies;
        #[path = "endings.rs"]
        mod endings;
        #[path = "life.rs"]
        mod life;
        #[path = "limits.rs"]
        mod limits;
        #[path = "plain.rs"]
        mod plain;
        #[path = "retries.rs"]
        mod retries;
    };
}

/// What takes its time.
macro_rules! timeouts {
    () => {
        #[path = "timeouts.rs"]
        mod timeouts;
    };
}

/// What is asked of endpoints that speak HTTP/1 alone.
macro_rules! upgrades {
    () => {
        #[path = "tunnels.rs"]
        mod tunnels;
    };
}

/// HTTP/1 from clients.
macro_rules! http1_clients {
    () => {
        #[path = "http1_clients.rs"]
        mod http1_clients;
    };
}

/// HTTP/1 to endpoints.
macro_rules! http1_endpoints {
    () => {
        #[path = "http1_endpoints.rs"]
        mod http1_endpoints;
    };
}

/// HTTP/1 on both sides.
macro_rules! http1 {
    () => {
        #[path = "hostile.rs"]
        mod hostile;
        #[path = "http1.rs"]
        mod http1;
    };
}

/// Plain connections: frames, which are the same over TLS; what is told of a connection that shows less than TLS does; and
/// the kernel's queue, in which over TLS a client would wait for a handshake before it asks.
macro_rules! plain_clients {
    () => {
        #[path = "floods.rs"]
        mod floods;
        #[path = "forwarded.rs"]
        mod forwarded;
        #[path = "introductions.rs"]
        mod introductions;
        #[path = "queue.rs"]
        mod queue;
    };
}

/// TLS from clients.
macro_rules! tls {
    () => {
        #[path = "tls.rs"]
        mod tls;
    };
}

/// Other ways to connect to endpoints.
macro_rules! connectors {
    () => {
        #[path = "connectors.rs"]
        mod connectors;
    };
}

/// HTTP/2 from clients.
macro_rules! http2_clients {
    () => {
        #[path = "http2_clients.rs"]
        mod http2_clients;
    };
}

/// Tunnels in streams.
macro_rules! http2_upgrades {
    () => {
        #[path = "http2_tunnels.rs"]
        mod http2_tunnels;
    };
}

/// HTTP/2 to endpoints.
macro_rules! http2_endpoints {
    () => {
        #[path = "http2_endpoints.rs"]
        mod http2_endpoints;
    };
}

/// HTTP/2 on connections that a test begins as if it spoke HTTP/1.
macro_rules! http2_frames {
    () => {
        #[path = "http2_frames.rs"]
        mod http2_frames;
    };
}

suite!(http1_to_http1: HTTP1 to HTTP1, messages timeouts upgrades http1_clients plain_clients http1_endpoints http1 connectors http2_frames);
suite!(http1_tls_to_http1_tls: HTTP1_TLS to HTTP1_TLS, messages timeouts upgrades http1_clients http1_endpoints http1 tls);
suite!(http1_to_http2: HTTP1 to HTTP2, messages timeouts http1_clients http2_endpoints);
suite!(http1_tls_to_http2_tls: HTTP1_TLS to HTTP2_TLS, messages http1_clients http2_frames);
suite!(http2_to_http1: HTTP2 to HTTP1, messages timeouts upgrades http1_endpoints connectors http2_clients http2_upgrades);
suite!(http2_tls_to_http1_tls: HTTP2_TLS to HTTP1_TLS, messages upgrades http1_endpoints http2_upgrades);
suite!(http2_to_http2: HTTP2 to HTTP2, messages timeouts http2_endpoints);
suite!(http2_tls_to_http2_tls: HTTP2_TLS to HTTP2_TLS, messages timeouts http2_clients http2_endpoints);
