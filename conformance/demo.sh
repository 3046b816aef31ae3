#!/usr/bin/env bash
# Holds the demo to what it prints.
#
# Starts `cargo run --release -- demo` as the README says, runs each line that it prints and that starts with `curl`,
# and compares the answer with the claim behind the line's `#`:
#
#     curl -s http://127.0.0.1:8080/ -H 'X-Canary: always'      # canary
#     curl -s http://127.0.0.1:8080/                            # canary 20%
#
# Each answer must have the status 200, and come by HTTP/2 where the claim says so. A claim of `stable` or `canary` holds
# for each; one with a share holds within four standard deviations over many; one of users who stay on a side holds for a
# user who asks often, and about half of many users are on either side. A claim that is not understood fails.
#
# Then it edits the canary's weight in the directory that the demo prints, waits for the split to follow within a second,
# starts another demo, which must find another port and be quiet if told so, and ends both as Ctrl-C would.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# How often a line is run whose claim is a share.
readonly SAMPLES=400
# How often a line is run whose claim holds always.
readonly REPEATS=10
# How many users ask where half of them are on a side, and within what the half must be.
readonly USERS=100 LEAST=30 MOST=70

work=$(mktemp -d)
readonly work
# The demo whose lines are run, and where what it prints goes.
demo='' out='' err=''
# All demos that run.
declare -A running=()

# Each curl tells the status of its answer on standard error, whatever line it is run by.
export CURL_HOME=$work
echo 'write-out = "%{stderr}%{http_code} by HTTP/%{http_version}\n"' >"$work/.curlrc"

main() {
    cargo build --locked --release --bin serin
    start first
    has_all_kinds
    run_printed_lines
    edit_weight
    another_demo
    stop first
    echo "demo: $lines printed lines hold, the weight can be edited, another demo finds a port, and Ctrl-C ends it"
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
    local name left
    for name in "${!running[@]}"; do
        choose "$name"
        kill -KILL -- "-$demo" 2>/dev/null || true
        left=$(directory)
        if [[ $left == */serin-demo-* ]]; then
            rm -rf "$left"
        fi
    done
    rm -rf "$work"
}
trap cleanup EXIT

# Starts a demo in a process group of its own, as a terminal would, and waits until it has printed its lines.
start() {
    local name=$1
    shift
    choose "$name"
    : >"$out"
    set -m
    cargo run --locked --release -- demo "$@" >"$out" 2>"$err" </dev/null &
    demo=$!
    set +m
    running[$name]=$demo
    within 30 "prints curl lines and its directory" grep -q '^Change canary-weight' "$out"
    within 10 "answers the first of them" answers
}

# Makes a demo the one that is asked.
choose() {
    out=$work/$1.out err=$work/$1.err demo=${running[$1]:-}
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

# The port of the demo, by its first line.
port() {
    printed_lines | head -n 1 | sed 's/.*:\([0-9]\+\)\/.*/\1/'
}

# The directory that the demo prints.
directory() {
    sed -n 's/^The manifests are in //p' "$out"
}

# Each of the ways to a canary has a line, and so has a request that says nothing.
has_all_kinds() {
    local kind
    local -A patterns=(
        [plain]="^curl -s http://shop[^ ?]*/ *#" [header]=" -H '" [cookie]=" --cookie " [query]="?[a-z]*=" [weight]="#.*[0-9] \?%"
        [tls]="--cacert .* https://.*#.*by TLS" [http2]="https://.*#.*by HTTP/2 over TLS" [grpc]="#.*by gRPC"
    )
    for kind in "${!patterns[@]}"; do
        printed_lines | grep -q -e "${patterns[$kind]}" || fail "prints no line of the kind $kind"
    done
}

run_printed_lines() {
    local line
    lines=0
    while read -r line; do
        [[ $line == *'#'* ]] || fail "claims nothing: $line"
        holds "$line" "${line##*#}"
        lines=$((lines + 1))
    done < <(printed_lines)
}

# Runs a printed line and compares its answers with what it claims.
holds() {
    local line=$1 claim=$2 side share
    side=$(grep -ow 'stable\|canary' <<<"$claim" | head -n 1) || true
    share=$(grep -o '[0-9]\+ \?%' <<<"$claim" | grep -o '[0-9]\+' | head -n 1) || true
    if [[ $claim == *'half of the users, each always on one side'* ]]; then
        holds_users "$line"
    elif [[ -n $side && -z $share ]]; then
        local hits
        hits=$(count "$line" "$side" "$REPEATS")
        ((hits == REPEATS)) || fail "$hits of $REPEATS answers came from $side: $line"
    elif [[ -n $side ]]; then
        local hits
        hits=$(count "$line" "$side" "$SAMPLES")
        awk -v n="$SAMPLES" -v k="$hits" -v p="$share" 'BEGIN {
            p /= 100; d = k - n * p; exit !(d * d <= 16 * n * p * (1 - p))
        }' || fail "$hits of $SAMPLES answers came from $side, not $share %: $line"
    elif [[ $claim == *'the table that decides it'* ]]; then
        ask "$line"
        grep -q 'shop\.localhost' "$work/body" || fail "tells of no table: $line"
    elif [[ $claim == *'what was measured'* ]]; then
        ask "$line"
        grep -q '^nginx_ingress_controller_requests{' "$work/body" || fail "tells of no request: $line"
    else
        fail "claims what is not understood: $line"
    fi
}

# Runs a line that names a user: that user is on one side, and about half of many are.
holds_users() {
    local line=$1 user hit hits=0 of_one
    [[ $line == *' --cookie user=7 '* ]] || fail "names no user: $line"
    of_one=$(count "$line" canary "$REPEATS")
    ((of_one == 0 || of_one == REPEATS)) || fail "$of_one of $REPEATS answers to one user came from canary: $line"
    for ((user = 1; user <= USERS; user++)); do
        hit=$(count "${line/user=7/user=$user}" canary 1)
        hits=$((hits + hit))
    done
    ((LEAST <= hits && hits <= MOST)) || fail "$hits of $USERS users are on the canary, not about half: $line"
}

# How many of so many answers to a line come from a side.
count() {
    local line=$1 side=$2 times=$3 at hits=0
    for ((at = 0; at < times; at++)); do
        ask "$line"
        grep -q '^stable-\|^canary-' "$work/body" || fail "is answered by neither side: $line"
        if grep -q "^$side-" "$work/body"; then
            hits=$((hits + 1))
        fi
    done
    echo "$hits"
}

# Runs a line as it was printed.
ask() {
    local line=$1 status
    bash -c "$line" >"$work/body" 2>"$work/status" </dev/null || fail "fails: $line"
    status=$(<"$work/status")
    [[ $status == "200 by "* ]] || fail "is answered with status $status: $line"
    [[ ${line##*#} != *HTTP/2* || $status == *" HTTP/2" ]] || fail "is answered with status $status: $line"
}

# Gives the canary all of the traffic, then none, by the manifest that the demo printed.
edit_weight() {
    local file line
    file=$(sed -n 's/^Change canary-weight in \(.*\) and see the split follow\.$/\1/p' "$out")
    grep -q 'canary-weight:' "$file" || fail "prints no manifest that sets canary-weight"
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

# Starts a quiet demo beside the first: it finds another port, and prints nothing but its lines.
another_demo() {
    local first printed
    first=$(port)
    start quiet --quiet
    (($(port) > first)) || fail "serves on the port $(port), which was taken"
    printed=$(<"$out")

    # By the time that the first has printed its split twice more, the other would have printed one, too.
    choose first
    local splits
    splits=$(splits)
    within 30 "prints the split" eval '(($(splits) >= splits + 2))'
    ((splits > 0)) || fail "printed no split at first"

    choose quiet
    [[ $(<"$out") == "$printed" ]] || fail "prints more than its lines, though it was told to be quiet"
    stop quiet
}

# How often the demo has printed how requests to / are split.
splits() {
    grep -c '^shop\.localhost/: stable .* %, canary .* % of [0-9]*$' "$out" || true
}

# Ends a demo as Ctrl-C does. Nothing of it must be left.
stop() {
    local status=0
    choose "$1"
    kill -INT -- "-$demo"
    wait "$demo" || status=$?
    unset "running[$1]"
    ((status == 0)) || fail "ended with status $status after Ctrl-C"
    [[ -n $(directory) && ! -e $(directory) ]] || fail "left its directory behind: $(directory)"
}

main
