//! The filter of the process's log, which can be changed while it runs.

use std::{fmt, str::FromStr, sync::Arc};

use tracing_subscriber::{
    EnvFilter,
    filter::{Directive, LevelFilter, ParseError},
    reload,
};

/// The filter of the process's log.
#[derive(Clone)]
pub struct LogLevel {
    show: Arc<dyn Fn() -> String + Send + Sync>,
    set: Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
}

/// What a filter lets through: `info`, or `warn,serin::proxy=debug`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogFilter(String);

/// Why a text is no filter.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLogFilter {
    #[error("it is empty; `off` turns the log off")]
    Empty,
    #[error("`{0}` is no level: write error, warn, info, debug, trace or off, or `target=level`")]
    NoLevel(String),
    #[error("`{directive}` is no directive such as `info` or `serin::proxy=debug`: {error}")]
    Unreadable { directive: String, error: ParseError },
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
    /// Where the log is gone.
    pub fn set(&self, filter: &LogFilter) -> Result<(), reload::Error> {
        (self.set)(filter.into())
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogLevel").field(&self.current()).finish()
    }
}

// === impl LogFilter ===

impl FromStr for LogFilter {
    type Err = InvalidLogFilter;

    /// A directive without `=` must be a level. [`EnvFilter`] takes any other word for a target, so that `warning` would
    /// turn the log off, but for what comes from a crate of that name.
    fn from_str(text: &str) -> Result<Self, InvalidLogFilter> {
        let directives: Vec<_> = text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
        for directive in &directives {
            if !directive.contains('=') && directive.parse::<LevelFilter>().is_err() {
                return Err(InvalidLogFilter::NoLevel((*directive).to_owned()));
            }
            if let Err(error) = directive.parse::<Directive>() {
                return Err(InvalidLogFilter::Unreadable { directive: (*directive).to_owned(), error });
            }
        }
        if directives.is_empty() { Err(InvalidLogFilter::Empty) } else { Ok(Self(directives.join(","))) }
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&LogFilter> for EnvFilter {
    fn from(filter: &LogFilter) -> Self {
        Self::builder().parse(&filter.0).expect("each directive has been read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_is_a_level() {
        for (text, read) in [
            ("info", "info"),
            ("off", "off"),
            ("WARN", "WARN"),
            ("warn,serin=debug", "warn,serin=debug"),
            (" warn , serin::proxy=trace,", "warn,serin::proxy=trace"),
            ("serin[request{id=7}]=debug", "serin[request{id=7}]=debug"),
        ] {
            let filter: LogFilter = text.parse().expect(text);
            assert_eq!(filter.to_string(), read);
            let _ = EnvFilter::from(&filter);
        }
        for bad in ["warning", "loud", "eror", "in fo", "serin", "info,serin", "serin[request]"] {
            assert!(matches!(bad.parse::<LogFilter>(), Err(InvalidLogFilter::NoLevel(_))), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for bad in ["", " ", ",", "in fo=!", "serin=loud", "serin[request{id=7}"] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad:?}");
        }
    }
}
