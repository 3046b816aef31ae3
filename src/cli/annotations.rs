//! `serin annotations`: the reference of annotations, as Markdown.

use std::io::Write;

use anyhow::Result;

use super::print;
use crate::translate::annotations;

/// Prints the reference.
pub(super) fn run() -> Result<()> {
    Ok(print(|out| out.write_all(annotations::reference().as_bytes()))?)
}
