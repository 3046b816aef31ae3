//! From objects to a live table: everything at once, and one change among everything.
//!
//! `cargo bench --bench pipeline` prints times and allocations at 10,000 Ingresses; `cargo bench --bench instructions`
//! counts the instructions of the same cases.

use divan::{AllocProfiler, Bencher};
use serin::{
    store::Store,
    translate::{self, Options},
};

mod population;

use self::population::{Change, everything, pipeline};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const INGRESSES: usize = 10_000;

fn main() {
    divan::main();
}

/// All objects are new: stored, translated and published.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn cold(bencher: Bencher<'_, '_>) {
    let everything = everything(INGRESSES);
    bencher.with_inputs(|| (pipeline(), everything.clone())).bench_local_values(
        |((mut pipeline, published), everything)| {
            pipeline.apply([everything]);
            (pipeline, published)
        },
    );
}

/// Translation alone, as `check` does it.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn translate(bencher: Bencher<'_, '_>) {
    let options = Options::default();
    let mut store = Store::new(translate::index(&options));
    for (object, age) in everything(INGRESSES).applied {
        store.apply(object, age);
    }
    let snapshot = store.snapshot();
    bencher.bench_local(|| translate::translate(&snapshot, &options));
}

/// One object is another: stored, what it reaches translated, and published.
#[divan::bench(args = Change::ALL, sample_count = 1000, sample_size = 1)]
fn change(bencher: Bencher<'_, '_>, change: Change) {
    let (mut pipeline, _published) = pipeline();
    pipeline.apply([everything(INGRESSES)]);
    let mut batches = change.batches(INGRESSES);
    bencher
        .with_inputs(|| batches.next().expect("there is always another"))
        .bench_local_values(|batch| pipeline.apply([batch]));
}
