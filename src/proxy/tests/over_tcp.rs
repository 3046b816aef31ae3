//! The suite over plain TCP.

suite!(
    #[expect(dead_code, reason = "some of it is for the tests of TLS alone")]
    tls: false
);

// About frames, which are the same over TLS, and what is told of a connection that shows less than TLS does.
#[path = "floods.rs"]
mod floods;
#[path = "forwarded.rs"]
mod forwarded;
#[path = "introductions.rs"]
mod introductions;
