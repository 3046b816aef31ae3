//! The filter of the process's log, which can be changed while it runs.

use std::{fmt, sync::Arc};

use tracing_subscriber::{EnvFilter, reload};

/// The filter of the process's log: `info`, or `warn,serin::proxy=debug`.
#[derive(Clone)]
pub struct LogLevel {
    show: Arc<dyn Fn() -> String + Send + Sync>,
    set: Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
}

/// Why a filter was not set.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLogLevel {
    #[error("`{text}` is not a filter such as `info` or `warn,serin::proxy=debug`: {error}")]
    Unreadable { text: String, error: tracing_subscriber::filter::ParseError },
    #[error("it is empty; `off` turns the log off")]
    Empty,
    #[error("the log cannot be changed: {0}")]
    Gone(#[from] reload::Error),
}

// === impl LogLevel ===

impl LogLevel {
    /// Changes the filter that `handle` reloads.
    pub fn new<S: 'static>(handle: reload::Handle<EnvFilter, S>) -> Self {
        let shown = handle.clone();
        Self {
            show: Arc::new(move || shown.with_current(ToString::to_string).unwrap_or_default()),
            set: Arc::new(move |filter| handle.reload(filter)),
        }
    }

    /// The filter of now.
    #[must_use]
    pub fn current(&self) -> String {
        (self.show)()
    }

    /// Sets another.
    ///
    /// # Errors
    ///
    /// Where `text` is not a filter; then the former one stays.
    pub fn set(&self, text: &str) -> Result<(), InvalidLogLevel> {
        if text.is_empty() {
            return Err(InvalidLogLevel::Empty);
        }
        let filter = EnvFilter::builder()
            .parse(text)
            .map_err(|error| InvalidLogLevel::Unreadable { text: text.to_owned(), error })?;
        Ok((self.set)(filter)?)
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogLevel").field(&self.current()).finish()
    }
}
