#!/bin/sh
# `sparks eval` on a real model, killed with SIGKILL three times and resumed, against an unbroken run: are any
# records lost, repeated or torn, and is the result the same? crates/cli/tests/eval_resume.rs asks the same of the
# toy model, in seconds.
#
#   tools/peers/eval_resume.sh MODEL SUITE.jsonl [TOKENS [PROBLEMS]]      (SPARKS: the command, default `sparks`)
set -eu
model=$1 suite=$2 tokens=${3:-48} problems=${4:-1000000} sparks=${SPARKS:-sparks}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
head -n "$problems" "$suite" > "$work/suite.jsonl"
wanted=$(wc -l < "$work/suite.jsonl")
set -- eval "$model" --suite "$work/suite.jsonl" --max-tokens "$tokens" --template plain --batch 4 --quiet --json
records() { cat "$work/broken/samples.jsonl" 2> /dev/null | wc -l; }

start=$(date +%s)
for part in 1 2 3; do
    "$sparks" "$@" --out "$work/broken" > /dev/null &
    child=$!
    # Killed when it has written a quarter, a half and three quarters, in the middle of the next batch.
    while [ "$(records)" -lt $((wanted * part / 4)) ] && kill -0 $child 2> /dev/null; do sleep 0.2; done
    sleep 1
    kill -9 $child 2> /dev/null && echo "killed with $(records) of $wanted records"
    wait $child 2> /dev/null || true
done
"$sparks" "$@" --out "$work/broken" > "$work/broken.json"
echo "broken run: $(($(date +%s) - start)) s"
start=$(date +%s)
"$sparks" "$@" --out "$work/whole" > "$work/whole.json"
echo "unbroken run: $(($(date +%s) - start)) s"

[ "$(records)" -eq "$wanted" ] || { echo "records: expected $wanted, found $(records)"; exit 1; }
sort "$work/whole/samples.jsonl" > "$work/a"
sort "$work/broken/samples.jsonl" > "$work/b"
cmp "$work/a" "$work/b"
sed 's/"run":"[^"]*"//' "$work/whole.json" > "$work/a"
sed 's/"run":"[^"]*"//' "$work/broken.json" > "$work/b"
cmp "$work/a" "$work/b"
echo "the same $wanted records and the same result: $(head -c 300 "$work/whole.json")"
