# What there is to do with this repository. CI runs these recipes, word for word.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Lists the recipes.
default:
    @just --list --unsorted

# All that CI does, after it has installed what that wants (`.ci/run`).
ci: check test demo-test fuzz-brief bench-instructions

# Formatting, lints, documentation, licences: all that needs no test to run.
check: fmt lint doc deny

# Fails where the code is not formatted.
fmt:
    cargo fmt --check
    cargo fmt --check --manifest-path fuzz/Cargo.toml

# Clippy on everything, the fuzz targets too; a warning is an error.
lint:
    cargo clippy --locked --all-targets -- -D warnings
    RUSTFLAGS="--cfg fuzzing" cargo clippy --locked --manifest-path fuzz/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}/fuzz" -- -D warnings

# Builds the documentation; a broken link is an error.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

# Licences, bans and sources of what we depend on (wants cargo-deny).
deny:
    cargo deny --locked check --hide-inclusion-graph bans licenses sources

# Everything that needs only Rust; tests that want a peer (nginx, Node) run where it is installed.
test *args:
    cargo test --locked {{ args }}

# Only the tests that drive a whole gateway over sockets.
conformance *args:
    cargo test --locked --test conformance {{ args }}

# Every case of h2spec, its strict ones too, against the proxy, plain and over TLS (wants Go, to build it once).
h2spec: h2spec-tool
    cargo test --locked --test conformance h2spec

# Builds h2spec into the cache, unless it is there.
h2spec-tool version="2.2.1":
    tool="${XDG_CACHE_HOME:-$HOME/.cache}/serin/tools/h2spec-{{ version }}/bin"; \
    [[ -x $tool/h2spec ]] || GOBIN=$tool go install github.com/summerwind/h2spec/cmd/h2spec@v{{ version }}+incompatible

# Every test beside a real API server (wants Go, to build that once).
cluster *args: control-plane
    SERIN_REQUIRE_API=1 cargo test --locked --test cluster {{ args }}

# The tests beside a real API server that take their time: ten minutes without it, a connection that dies in silence.
soak: control-plane
    SERIN_REQUIRE_API=1 cargo test --locked --test cluster -- --ignored

# Builds etcd, kube-apiserver and its controllers into the cache, unless they are there: some seven minutes.
control-plane:
    conformance/control-plane/build

# Starts the demo, runs the lines that it prints, edits its canary's weight, and stops it.
demo-test:
    conformance/demo.sh

# What must stay fast: times and allocations (`just bench --bench lookup` for one of them).
bench *args="--bench lookup --bench pipeline":
    cargo bench --locked {{ args }}

# Counts the instructions of a change among 10,000 Ingresses; fails if they are more than its share (wants valgrind).
bench-instructions:
    cargo bench --locked --bench instructions

# The CPU time of a proxied request beside nginx's and HAProxy's; fails if it is more than its share (wants those, wrk and h2load).
bench-proxy: dist
    cargo bench --locked --bench proxy

# How long a client waits while others attack; fails if it is more than its share (wants taskset, chrt and prlimit, and two cores).
bench-hostile: dist
    cargo bench --locked --bench hostile

# How soon requests see what is written to an API server, and what it costs to watch a large cluster; fails where the first is too late (wants what `cluster` wants).
bench-propagation: dist control-plane
    cargo bench --locked --bench propagation

# Fuzzes a reader of bytes (wants cargo-fuzz and a nightly compiler); `ls fuzz/fuzz_targets` names them.
fuzz target seconds="60":
    cargo +nightly fuzz run {{ target }} -- -max_total_time={{ seconds }}

# Gives every reader of bytes 10,000,000 changed inputs of its corpus, or as many as it can read in SECONDS.
fuzz-all seconds="60" inputs="10000000":
    RUSTFLAGS="--cfg fuzzing" cargo run --quiet --release --locked --manifest-path fuzz/Cargo.toml --no-default-features \
        --bin mutate -- {{ inputs }} {{ seconds }}

# Every fuzz target for five seconds.
fuzz-brief: (fuzz-all "5")

# The program as it is shipped: one codegen unit, fat LTO.
dist:
    cargo build --locked --profile dist --bin serin

# The image's root directory, in DIR, as the Dockerfile makes it.
image-root dir: dist
    image/collect "${CARGO_TARGET_DIR:-target}/dist/serin" {{ dir }}
