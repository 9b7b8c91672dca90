#!/usr/bin/env bash
# The pictures of the README: every program figure_… and table_… on a study (default: the demo's, made if absent).
set -euo pipefail
cd "$(dirname "$0")/.."
study=${1:-runs/demo}
[ -f "$study/results.json" ] || cargo run -q -p sparks -- demo --out "$study"
out=$(mktemp -d)
for program in examples/figure_*.rs examples/table_*.rs; do
    cargo run -q -p examples --example "$(basename "$program" .rs)" -- "$study" "$out"
done
cp "$out"/*.png docs/img/
