//! The instructions of a translation of everything, and of one change among everything.
//!
//! Times differ from run to run, instructions hardly do. Valgrind counts them: this program runs itself under it, step
//! by step, and what one step does more than another is the difference. It fails where a change costs more than its
//! share of everything.

use std::{
    env, error, fmt, io,
    io::Write,
    mem,
    process::{Command, ExitCode},
};

use serin::{
    store::Store,
    translate::{self, Options},
};

mod population;

use self::population::{Change, everything, pipeline};

const INGRESSES: usize = 10_000;

/// How often a change happens; what is shown is the mean.
const TURNS: u64 = 400;

/// A change may cost this much of the translation of everything, in percent.
const MOST: f64 = 2.0;

/// What a run of this program under valgrind does. Each prepares the same objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Stores all objects.
    Store,
    /// Stores all objects and translates them.
    Translate,
    /// Stores, translates and publishes all objects.
    Publish,
    /// The same, and then publishes changes.
    Change(Change),
}

fn main() -> Result<ExitCode, Box<dyn error::Error>> {
    // Set for the runs under valgrind.
    const STEP: &str = "SERIN_BENCH_STEP";
    if let Ok(step) = env::var(STEP) {
        let step = Step::all().find(|known| known.to_string() == step).ok_or("there is no such step")?;
        step.run();
        return Ok(ExitCode::SUCCESS);
    }
    let count = |step: Step| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
        let output = valgrind.arg(env::current_exe()?).env(STEP, step.to_string()).output();
        let output = output.map_err(|error| format!("valgrind does not start: {error}"))?;
        let log = String::from_utf8_lossy(&output.stderr);
        instructions(&log).ok_or_else(|| format!("valgrind counted nothing:\n{log}").into())
    };
    report(count)
}

/// Shows what everything and what each change costs, and says whether that is little enough.
fn report(count: impl Fn(Step) -> Result<u64, Box<dyn error::Error>>) -> Result<ExitCode, Box<dyn error::Error>> {
    let mut out = io::stdout().lock();
    let stored = count(Step::Store)?;
    let translated = count(Step::Translate)? - stored;
    writeln!(out, "{:<20} {translated:>14} instructions", "translate all")?;
    let published = count(Step::Publish)?;
    let mut code = ExitCode::SUCCESS;
    for change in Change::ALL {
        // Hashes are seeded, so two runs differ by a little; that could be more than the change.
        let changed = count(Step::Change(change))?.saturating_sub(published) / TURNS;
        let share = 100.0 * changed as f64 / translated as f64;
        writeln!(out, "{:<20} {changed:>14} instructions, {share:.3} % (at most {MOST} %)", change.to_string())?;
        if share > MOST {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

// === impl Step ===

impl Step {
    fn all() -> impl Iterator<Item = Self> {
        [Self::Store, Self::Translate, Self::Publish].into_iter().chain(Change::ALL.map(Self::Change))
    }

    fn run(self) {
        let all = everything(INGRESSES);
        let changes = Change::ALL.map(|change| change.batches(INGRESSES).take(TURNS as usize).collect::<Vec<_>>());
        let (mut pipeline, published) = pipeline();
        let options = Options::default();
        let mut store = Store::new(translate::index(&options));
        let mut translation = None;
        match self {
            Self::Store | Self::Translate => {
                for (object, age) in all.applied {
                    store.apply(object, age);
                }
                if self == Self::Translate {
                    translation = Some(translate::translate(&store.snapshot(), &options));
                }
            }
            Self::Publish | Self::Change(_) => pipeline.apply([all]),
        }
        for (change, batches) in Change::ALL.into_iter().zip(changes) {
            if self == Self::Change(change) {
                batches.into_iter().for_each(|batch| pipeline.apply([batch]));
            } else {
                mem::forget(batches);
            }
        }
        // To drop it all would cost more than a change.
        mem::forget((pipeline, published, store, translation));
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("store"),
            Self::Translate => f.write_str("translate"),
            Self::Publish => f.write_str("publish"),
            Self::Change(change) => change.fmt(f),
        }
    }
}

/// Reads the count from the log of valgrind.
fn instructions(log: &str) -> Option<u64> {
    let (_, count) = log.lines().find(|line| line.contains("I ") && line.contains("refs:"))?.split_once("refs:")?;
    count.trim().replace(',', "").parse().ok()
}
