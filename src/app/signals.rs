//! The signals that end the process.
//!
//! They are caught before anything is started. The kernel keeps from the first process of a container every signal that
//! it does not catch, and whoever is killed by one cannot clean up.

use std::future::Future;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

/// SIGTERM and SIGINT, one as good as the other, and SIGHUP where that is wanted.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
}

// === impl Signals ===

impl Signals {
    /// Catches the signals from now on.
    ///
    /// # Errors
    ///
    /// Where that cannot be done.
    pub fn catch() -> Result<Self> {
        let (terminate, interrupt) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hang_up: None })
    }

    /// Catches them, and what comes when the terminal is closed.
    ///
    /// # Errors
    ///
    /// Where that cannot be done.
    pub fn catch_in_terminal() -> Result<Self> {
        Ok(Self { hang_up: Some(catch(SignalKind::hangup())?), ..Self::catch()? })
    }

    /// What `work` comes to; none where a signal comes first, which ends the work.
    pub async fn unless_ended<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            signal = self.next() => {
                info!(signal, "leaving before anything was served");
                None
            }
        }
    }

    /// Waits for the next one, and names it.
    pub(super) async fn next(&mut self) -> &'static str {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hang_up => "SIGHUP",
        }
    }
}

fn catch(kind: SignalKind) -> Result<Signal> {
    signal(kind).context("cannot catch signals")
}
