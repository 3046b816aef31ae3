//! What a test needs on the machine beside Rust, and may not find there.

use std::{io::Write as _, path::PathBuf};

/// Where a program is, or `None` where it is not installed: the test says so and passes.
///
/// # Panics
///
/// Where `SERIN_REQUIRE_PEERS` is `1`, as in CI: a test that cannot run has failed there.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = dirs.map(|dir| dir.join(name)).find(|program| program.is_file());
    if found.is_none() {
        absent(name);
    }
    found
}

/// Says that a test is skipped for want of something.
///
/// # Panics
///
/// As [`program`] does.
pub(crate) fn absent(what: &str) {
    assert!(
        std::env::var("SERIN_REQUIRE_PEERS").as_deref() != Ok("1"),
        "{what} is not here, and SERIN_REQUIRE_PEERS is 1"
    );
    // Not by `eprintln!`, which the test runner would hold back.
    let _ = writeln!(std::io::stderr(), "skipped: {what} is not here");
}
