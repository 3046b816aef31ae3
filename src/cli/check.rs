//! `serin check`: every mistake in manifests, with the mend.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    json,
    manifests::{self, Manifests},
    print,
};
use crate::{
    config::{ClientFlags, ObjectFlags, switch},
    problem::{Level, Problem},
    tls::Date,
    translate,
};

/// The command line of `check`.
#[derive(Args, Debug)]
pub(super) struct CheckFlags {
    /// A directory of manifests, or one file; `-` for standard input.
    path: PathBuf,

    #[command(flatten)]
    objects: ObjectFlags,

    #[command(flatten)]
    clients: ClientFlags,

    /// Makes it an error too if an object is named that is not in these files.
    #[arg(long, env = "SERIN_STRICT", value_parser = switch)]
    strict: bool,

    /// How to print what is found.
    #[arg(long, short, env = "SERIN_OUTPUT", value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How to print.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Output {
    Text,
    Json,
}

/// A problem, and where in the files it is.
#[derive(Serialize)]
struct Found {
    /// `shop/web.yaml:12:9`, where the object is in the files.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(flatten)]
    problem: Problem,
}

/// What was found, as JSON has it.
#[derive(Serialize)]
struct Report<'a> {
    objects: usize,
    ignored: usize,
    errors: usize,
    warnings: usize,
    missing: usize,
    problems: &'a [Found],
}

/// Checks manifests. The code is a failure where an error was found.
pub(super) fn run(flags: &CheckFlags) -> Result<ExitCode> {
    let manifests = manifests::load(&flags.path, &flags.objects, &flags.clients)?;
    let problems = problems(&manifests, Date::from(SystemTime::now()), flags.strict);
    let count = |level| problems.iter().filter(|found| found.problem.level == level).count();
    let report = Report {
        objects: manifests.objects,
        ignored: manifests.ignored,
        errors: count(Level::Error),
        warnings: count(Level::Warning),
        missing: count(Level::Missing),
        problems: &problems,
    };
    print(|out| match flags.output {
        Output::Text => report.print(out),
        Output::Json => json(out, &report),
    })?;
    Ok(if report.errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// All problems, the worst first, then by object. The dates of certificates are judged by `now`. Where it is strict, what
/// is not in these files is nowhere.
fn problems(manifests: &Manifests, now: Date, strict: bool) -> Vec<Found> {
    let translation = translate::translate(&manifests.snapshot, &manifests.options);
    let hosts = translation.hosts.values().flat_map(|output| &output.certificates);
    let dated = hosts.chain(&translation.default_certificate).filter_map(|chosen| {
        let certificate = chosen.certificate.as_ref()?;
        translate::validity_problem(&chosen.secret, certificate, now)
    });
    let mut problems: Vec<_> = dated.collect();
    problems.extend(translation.problems);
    problems.extend(manifests.unreadable.iter().cloned());
    if strict {
        let missing = problems.iter_mut().filter(|problem| problem.level == Level::Missing);
        missing.for_each(|problem| problem.level = Level::Error);
    }
    problems.sort_unstable();
    problems.dedup();
    problems.sort_by_key(|problem| problem.level);
    let place = |problem: &Problem| manifests.places.of(&problem.object, &problem.field).map(|place| place.to_string());
    problems.into_iter().map(|problem| Found { place: place(&problem), problem }).collect()
}

// === impl Report ===

impl Report<'_> {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { objects, ignored, errors, warnings, missing, problems } = self;
        for Found { place, problem: Problem { object, field, level, fault, effect, mend, .. } } in *problems {
            let place = place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
            writeln!(out, "{level}: {object}{place}\n  at {field}: {fault}\n  effect: {effect}")?;
            let mut lines = mend.lines();
            writeln!(out, "  mend: {}", lines.next().unwrap_or_default())?;
            for line in lines {
                writeln!(out, "    {line}")?;
            }
            writeln!(out)?;
        }
        writeln!(
            out,
            "{objects} objects, {ignored} of other kinds ignored: {errors} errors, {warnings} warnings, {missing} not in these files"
        )
    }
}
