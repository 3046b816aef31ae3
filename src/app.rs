//! Wires the modules into a gateway, and runs it.
//!
//! ```text
//! control runtime: files, or the API server ──> pipeline ──> live table, live clusters
//!                  admin server, name resolution, signals
//! workers:         one thread each, reads both
//! ```
//!
//! [`Gateway::start`] is the whole of it; `serin run`, the demo and the tests start the same gateway.

use std::future::Future;

use anyhow::{Context, Result};

use crate::config::{RunFlags, ServerFlags};

mod cpus;
mod descriptors;
mod gateway;
mod listen;
mod logging;
mod signals;
mod source;
mod views;

pub use self::{
    gateway::{Gateway, RouteSplit},
    signals::Signals,
};

/// Serves until a signal ends it.
///
/// # Errors
///
/// Where the gateway cannot start.
pub fn run(flags: &RunFlags) -> Result<()> {
    block_on(&flags.server, async {
        let mut signals = Signals::catch()?;
        let Some(gateway) = signals.unless_ended(Gateway::start(flags)).await else { return Ok(()) };
        gateway?.run(signals).await;
        Ok(())
    })
}

/// Runs `work` on the control runtime, with the process log set up.
///
/// # Errors
///
/// Those of `work`, and where the runtime or the log cannot start.
pub fn block_on<T>(flags: &ServerFlags, work: impl Future<Output = Result<T>>) -> Result<T> {
    logging::init(flags)?;
    control_runtime()?.block_on(work)
}

/// The runtime for everything that is not a request: a large translation then takes no worker's time.
fn control_runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control runtime")
}
