//! Gives every target changed inputs of its corpus: `mutate INPUTS SECONDS [TARGET]`, whichever is first, for each target.
//!
//! It knows nothing of which code an input reaches, as a fuzzer does; it wants no nightly compiler, and is fast.

use serin_fuzz::fuzzing::{TARGETS, mutate::Seeded};
use std::{
    env, fs,
    io::{self, Write as _},
    panic,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(inputs), Some(seconds)) = (number(0), number(1)) else {
        let _ = writeln!(io::stderr(), "mutate INPUTS SECONDS [TARGET]");
        return ExitCode::FAILURE;
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = env::var("SERIN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now.as_nanos() as u64);
    let _ = writeln!(io::stdout(), "SERIN_SEED={seed}");
    // What fails is told below, with its input.
    panic::set_hook(Box::new(|_| {}));
    let mut held = true;
    for (name, target) in TARGETS.iter().filter(|(name, _)| args.get(2).is_none_or(|only| only == name)) {
        let corpus = corpus(name);
        let (mut seeded, start, mut count) = (Seeded::new(seed), Instant::now(), 0);
        while count < inputs && (count % 256 != 0 || start.elapsed() < Duration::from_secs(seconds)) {
            let input = seeded.changed(&corpus);
            count += 1;
            if let Err(panic) = panic::catch_unwind(|| target(&input)) {
                let why = panic.downcast_ref::<String>().map(String::as_str);
                let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
                let _ = writeln!(io::stdout(), "{name} fails for b\"{}\": {why}", input.escape_ascii());
                held = false;
                break;
            }
        }
        let _ = writeln!(io::stdout(), "{name}: {count} inputs in {:.1} s", start.elapsed().as_secs_f64());
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The committed inputs of a target.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(dir).expect("there is a corpus");
    entries.map(|entry| fs::read(entry.expect("it can be listed").path()).expect("it can be read")).collect()
}
