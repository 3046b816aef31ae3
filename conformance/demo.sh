#!/usr/bin/env bash
# Holds the demo to what it prints.
#
# Starts `cargo run --release -- demo` as the README says, runs each line that it prints and that starts with `curl`,
# and compares the answer with the claim behind the line's `#`:
#
#     curl -s http://127.0.0.1:8080/ -H 'X-Canary: always'      # canary
#     curl -s http://127.0.0.1:8080/                            # canary 20%
#
# A claim of `stable` or `canary` holds for each answer; one with a share holds within four standard deviations over
# many. Then it edits the canary's weight in the directory that the demo prints, waits for the split to follow within
# a second, and ends the demo as Ctrl-C would.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# How often a line is run whose claim is a share.
readonly SAMPLES=400
# How often a line is run whose claim holds always.
readonly REPEATS=10

work=$(mktemp -d)
readonly work
readonly out=$work/out err=$work/err
demo=

main() {
    start
    run_printed_lines
    edit_weight
    stop
    echo "demo: $lines printed lines hold, the weight can be edited, and Ctrl-C ends it"
}

fail() {
    echo "demo: $*" >&2
    echo "--- what it printed" >&2
    cat "$out" >&2
    echo "--- and on stderr" >&2
    tail -n 40 "$err" >&2
    exit 1
}

cleanup() {
    if [[ -n $demo ]]; then
        kill -KILL -- "-$demo" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

# Starts the demo in a process group of its own, as a terminal would, and waits until it has printed its lines.
start() {
    cargo build --locked --release --bin serin
    : >"$out"
    set -m
    cargo run --locked --release -- demo >"$out" 2>"$err" </dev/null &
    demo=$!
    set +m
    within 30 "prints curl lines" grep -q '^ *curl ' "$out"
    within 10 "answers the first of them" answers
}

answers() {
    bash -c "$(printed_lines | head -n 1)" >/dev/null 2>&1 </dev/null
}

# Waits until a command succeeds.
within() {
    local seconds=$1 what=$2 deadline
    shift 2
    deadline=$((SECONDS + seconds))
    until "$@"; do
        kill -0 "$demo" 2>/dev/null || fail "ended before it $what"
        ((SECONDS < deadline)) || fail "not within $seconds s: $what"
        sleep 0.05
    done
}

printed_lines() {
    sed -n 's/^ *\(curl .*\)$/\1/p' "$out"
}

run_printed_lines() {
    local line claim
    lines=0
    while read -r line; do
        claim=${line##*#}
        [[ $line == *'#'* ]] || claim=
        holds "$line" "$claim"
        lines=$((lines + 1))
    done < <(printed_lines)
    ((lines >= 5)) || fail "prints only $lines lines, not one for each of plain, header, cookie, query, weight"
}

# Runs a printed line and compares its answers with what it claims.
holds() {
    local line=$1 claim=$2 side share
    side=$(grep -ow 'stable\|canary' <<<"$claim" | head -n 1) || true
    share=$(grep -o '[0-9]\+ \?%' <<<"$claim" | grep -o '[0-9]\+' | head -n 1) || true
    if [[ -z $side ]]; then
        bash -c "$line" >"$work/body" </dev/null || fail "fails: $line"
    elif [[ -z $share ]]; then
        local hits
        hits=$(count "$line" "$side" "$REPEATS")
        ((hits == REPEATS)) || fail "$hits of $REPEATS answers came from $side: $line"
    else
        local hits
        hits=$(count "$line" "$side" "$SAMPLES")
        awk -v n="$SAMPLES" -v k="$hits" -v p="$share" 'BEGIN {
            p /= 100; d = k - n * p; exit !(d * d <= 16 * n * p * (1 - p))
        }' || fail "$hits of $SAMPLES answers came from $side, not $share %: $line"
    fi
}

# How many of so many answers to a line name a side.
count() {
    local line=$1 side=$2 times=$3 at hits=0
    for ((at = 0; at < times; at++)); do
        bash -c "$line" >"$work/body" 2>/dev/null </dev/null || fail "fails: $line"
        if grep -qw "$side" "$work/body"; then
            hits=$((hits + 1))
        fi
    done
    echo "$hits"
}

# Gives the canary all of the traffic, then none, by the manifest that the demo printed.
edit_weight() {
    local path line file=
    while read -r path; do
        if [[ -f $path ]] && grep -q 'canary-weight:' "$path"; then
            file=$path
            break
        fi
    done < <(grep -o '/[^ :,)"'"'"']\+' "$out")
    [[ -n $file ]] || fail "prints no manifest that sets canary-weight"
    line=$(printed_lines | grep '# .*[0-9] \?%' | head -n 1) || fail "no printed line claims a share"

    set_weight 100 "$file"
    follows canary "$line"
    set_weight 0 "$file"
    follows stable "$line"
}

set_weight() {
    # `sed -i` writes another file and renames it over the old one, as many editors do.
    sed -i "s/\(canary-weight:\).*/\1 \"$1\"/" "$2"
}

# Fails unless all answers to a line come from one side, a second after the edit.
follows() {
    local side=$1 line=$2 hits
    sleep 1
    hits=$(count "$line" "$side" 20)
    ((hits == 20)) || fail "a second after the edit, $hits of 20 answers came from $side: $line"
}

stop() {
    local status=0
    kill -INT -- "-$demo"
    wait "$demo" || status=$?
    demo=
    ((status == 0)) || fail "ended with status $status after Ctrl-C"
}

main
