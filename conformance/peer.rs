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
    skip(&format!("{what} is not here"), "SERIN_REQUIRE_PEERS");
}

/// Says that a test is skipped, and why.
///
/// # Panics
///
/// Where the variable `forbidden_by` is `1`.
pub(crate) fn skip(why: &str, forbidden_by: &str) {
    assert!(std::env::var(forbidden_by).as_deref() != Ok("1"), "{why}, and {forbidden_by} is 1");
    // Not by `eprintln!`, which the test runner would hold back.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
