//! The gateway's `http` module alone, for the fuzzer.

#[path = "../../src"]
mod serin {
    pub mod http;
}

pub use serin::http::{self, fuzzing};
