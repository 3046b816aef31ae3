//! The log of the process: on standard error, as text or JSON, with a filter that can be changed at run time.

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
};

use anyhow::{Context, Result};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::filter_fn, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::{
    admin::LogLevel,
    config::{LogFormat, ServerFlags},
};

type Filter = reload::Layer<EnvFilter, Registry>;

/// The filter of this process. There is one subscriber to a process, however many gateways tests start in it.
static LEVEL: OnceLock<LogLevel> = OnceLock::new();

/// Sets the log up; a later call in the same process changes the filter only.
pub(super) fn init(flags: &ServerFlags) -> Result<()> {
    if let Some(level) = LEVEL.get() {
        return level.set(&flags.log_level).context("--log-level");
    }
    let (filter, handle) = Filter::new((&flags.log_level).into());
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match flags.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let lines = lines.with_filter(filter_fn(is_ours));
    tracing_subscriber::registry().with(filter).with(lines).try_init().context("the log is set up already")?;
    let _ = LEVEL.set(LogLevel::new(handle));
    Ok(())
}

/// Whether an event is ours to tell of. The `h2` crate warns of frames that a peer should not have sent, a line for each,
/// and every peer may send as many as it likes. `kube-client` shows the whole of an answer that it cannot read, which may
/// be a list of Secrets; what fails there, the source tells in its own words.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    !target.starts_with("kube_client") && (*metadata.level() != Level::WARN || !target.starts_with("h2::"))
}

/// The filter of now, to show and to change. Where nobody has set a log up, changing it changes nothing.
pub(super) fn level() -> LogLevel {
    LEVEL.get().cloned().unwrap_or_else(|| LogLevel::new(Filter::new(EnvFilter::default()).1))
}
