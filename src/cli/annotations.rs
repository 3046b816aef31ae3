//! `serin annotations`: the reference of annotations, as Markdown.

use std::io::{self, Write};

use anyhow::Result;

use crate::translate::annotations;

/// Prints the reference.
pub(super) fn run() -> Result<()> {
    io::stdout().write_all(annotations::reference().as_bytes())?;
    Ok(())
}
