//! The suite over plain TCP.

suite!(
    #[expect(dead_code, reason = "some of it is for the tests of TLS alone")]
    tls: false
);
