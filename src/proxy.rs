//! To come.

pub mod log;
