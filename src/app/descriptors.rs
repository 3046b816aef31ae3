//! File descriptors: how many there may be, and so how many connections.
//!
//! A process that has none left can accept nobody, be it on the admin port, and connect to no endpoint. So it takes as many as
//! it may have, and serves no more connections than those are enough for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::proxy;

/// What a connection wants: one for the client, one for an endpoint.
const EACH: u64 = 2;

/// What is left for everything else: listeners, the admin port, the API server, idle connections to endpoints.
const OTHERS: u64 = 256;

/// How many connections of clients are served: `wanted`, or the default, but no more than the system grants file
/// descriptors for. The process may use all that it is granted from then on.
pub(super) fn connections(wanted: Option<usize>) -> usize {
    let granted = raise();
    let most = most(granted);
    if let Some(wanted) = wanted.filter(|wanted| *wanted > most) {
        warn!(
            file_descriptors = granted,
            wanted,
            most,
            "fewer connections are served than --max-connections says: raise the hard limit of open files \
             (`ulimit -Hn`, LimitNOFILE), or lower the flag"
        );
    }
    wanted.unwrap_or(proxy::Config::default().connections).min(most)
}

/// Raises the limit as far as the process may, and tells what it is.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // The system knows no limit where there is no number.
    let granted = maximum.unwrap_or(u64::MAX);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => granted,
        Err(error) => {
            warn!(%error, "the limit of open files cannot be raised to what is granted");
            current.unwrap_or(u64::MAX)
        }
    }
}

/// How many connections so many file descriptors are enough for. At least one is served, come what may.
fn most(granted: u64) -> usize {
    usize::try_from(granted.saturating_sub(OTHERS) / EACH).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_wants_two_and_some_are_left_for_others() {
        for (granted, expected) in [(0, 1), (256, 1), (1024, 384), (65_536, 32_640)] {
            assert_eq!(most(granted), expected, "{granted}");
        }
        assert!(most(u64::MAX) > 1 << 40);
    }
}
