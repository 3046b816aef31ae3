//! The `serin` program.

fn main() {}
