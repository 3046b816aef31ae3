//! The proxy as a client and an endpoint see it.
//!
//! The whole suite runs over every kind of connection that clients may come by. A file of it knows its kind by `over`.

/// The suite over one kind of connection.
macro_rules! suite {
    ($(#[$attribute:meta])* tls: $tls:literal) => {
        /// How clients come in.
        mod over {
            pub(super) const TLS: bool = $tls;
        }

        $(#[$attribute])*
        #[path = "harness.rs"]
        mod harness;
        $(#[$attribute])*
        #[path = "wire.rs"]
        mod wire;

        #[path = "affinity.rs"]
        mod affinity;
        #[path = "bodies.rs"]
        mod bodies;
        #[path = "hostile.rs"]
        mod hostile;
        #[path = "life.rs"]
        mod life;
        #[path = "limits.rs"]
        mod limits;
        #[path = "plain.rs"]
        mod plain;
        #[path = "retries.rs"]
        mod retries;
        #[path = "timeouts.rs"]
        mod timeouts;
        #[path = "tunnels.rs"]
        mod tunnels;
    };
}

#[expect(clippy::duplicate_mod, reason = "each kind of connection has the whole suite")]
mod over_tcp;
#[expect(clippy::duplicate_mod, reason = "each kind of connection has the whole suite")]
mod over_tls;
