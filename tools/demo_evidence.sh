#!/usr/bin/env bash
# Evidence beside the demo: tools/demo_evidence.sh SPARKS OUT
# The demo with seeds 0, 1 and 2, and 100 trials of each control, condensed to OUT/demo-evidence.json; copied to
# crates/cli/assets/ it is shown by `sparks demo`. About 45 CPU-minutes.
set -euo pipefail
sparks=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
for seed in 0 1 2; do
    "$sparks" demo --out "$out/seed-$seed" --seed "$seed" --quiet
done
# Of the first seed's trainings: noise as large as theirs is a control too.
sed -e 's/^trials = .*/trials = 100/' -e '/^evidence = /d' "$out/seed-0/study.toml" > "$out/controls.toml"
"$sparks" study "$out/controls.toml" --only controls --quiet
python3 "$here/demo_evidence.py" "$out"
