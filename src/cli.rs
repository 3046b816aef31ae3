//! The command line: `serin run`, `demo`, `check`, `explain`, `annotations`.
//!
//! Exit codes: 0 done, 1 failed or mistakes found, 64 not used as it is meant.

use std::{
    io::{self, StdoutLock, Write},
    process::ExitCode,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};
use serde::Serialize;

use crate::{
    app,
    config::{RunFlags, command_line},
    tls,
};

mod annotations;
mod check;
mod demo;
mod explain;
mod manifests;

/// The exit code for a command line that cannot be understood (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

/// An ingress controller and canary traffic gateway for Kubernetes.
#[derive(Parser, Debug)]
#[command(name = "serin", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serves what Kubernetes objects say, and follows their changes.
    Run(Box<RunFlags>),
    /// Starts the gateway with a small shop behind it and a canary between its versions: no cluster needed.
    Demo(demo::DemoFlags),
    /// Finds every mistake in manifests and says how to mend it.
    Check(check::CheckFlags),
    /// Explains what would become of a request: the route, the canary decision, the endpoints, the changes.
    Explain(explain::ExplainFlags),
    /// Prints the reference of annotations, as Markdown.
    Annotations,
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    tls::install_provider();
    let cli = match command_line(Cli::command()).try_get_matches().and_then(|found| Cli::from_arg_matches(&found)) {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nobody is left to tell where even this cannot be printed.
            let _ = error.print();
            return if asked_for { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    let done = match cli.command {
        Command::Run(flags) => app::run(&flags).map(|()| ExitCode::SUCCESS),
        Command::Demo(flags) => demo::run(&flags).map(|()| ExitCode::SUCCESS),
        Command::Check(flags) => check::run(&flags),
        Command::Explain(flags) => explain::run(&flags),
        Command::Annotations => annotations::run().map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        // As above: where that cannot be printed, it is for nobody.
        let _ = writeln!(io::stderr(), "serin: {error:#}");
        ExitCode::FAILURE
    })
}

/// Writes to standard output. Who closes the other end of a pipe has seen enough: that is no failure.
fn print(write: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Writes a report as JSON.
fn json(out: &mut impl Write, report: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, builder::ValueParser};

    use super::*;

    #[test]
    fn every_flag_is_also_a_variable() {
        let mut flags = 0;
        for command in Cli::command().get_subcommands() {
            for flag in command.get_arguments() {
                let Some(long) = flag.get_long() else { continue };
                let variable = match long {
                    // What Kubernetes' own examples call them.
                    "pod-name" | "pod-namespace" => long.to_owned(),
                    long => format!("SERIN_{long}"),
                };
                let variable = variable.to_uppercase().replace('-', "_");
                let found = flag.get_env().map(|variable| variable.to_string_lossy().into_owned());
                assert_eq!(found.as_ref(), Some(&variable), "{} --{long}", command.get_name());
                flags += 1;
            }
        }
        assert!(flags > 30, "{flags} flags");
    }

    #[test]
    fn every_switch_takes_what_switches_take() {
        let strict = format!("{:?}", ValueParser::bool());
        let mut switches = 0;
        for command in Cli::command().get_subcommands() {
            for flag in command.get_arguments().filter(|flag| matches!(flag.get_action(), ArgAction::SetTrue)) {
                assert_ne!(format!("{:?}", flag.get_value_parser()), strict, "{} {flag}", command.get_name());
                switches += 1;
            }
        }
        assert!(switches > 10, "{switches} switches");
    }
}
