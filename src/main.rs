//! The `serin` program.

use std::process::ExitCode;

/// Faster than the system's where many small things are allocated and freed on many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    serin::cli::main()
}
