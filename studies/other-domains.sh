#!/bin/bash
# Studies of two checkpoints of any model over indirect objects and over greater-than:
# studies/other-domains.sh BASE OTHER OUT [DIGITS]
# BASE and OTHER are folders or hub ids, OTHER or an adapter of BASE; DIGITS is 2 for tokenizers that write a year in two tokens, 1 for Qwen's.
set -euo pipefail
base=$1 other=$2 out=$3 digits=${4:-1}
sparks=${SPARKS:-sparks}
mkdir -p "$out"
second="path = \"$other\""
[ ! -e "$other/adapter_config.json" ] || second="path = \"$base\"
adapter = \"$other\""
"$sparks" pairs ioi "$base" --n "${PAIRS:-30}" --out "$out/ioi.jsonl"
"$sparks" pairs greater-than "$base" --digits "$digits" --n "${PAIRS:-30}" --out "$out/greater-than.jsonl"
for task in ioi greater-than; do
    # Every later year is an answer: the probability difference sums over them.
    metric=logit-diff
    [ $task = greater-than ] && metric=prob-diff
    cat > "$out/$task.toml" <<TOML
[study]
dir = "$out/$task"
title = "$task: $base and $other"
[[checkpoint]]
name = "base"
path = "$base"
[[checkpoint]]
name = "other"
$second
[[suite]]
name = "$task"
pairs = "$out/$task.jsonl"
[attribution]
metric = "$metric"
[[circuit]]
name = "top1000"
top = 1000
[transfers]
TOML
    "$sparks" study "$out/$task.toml"
done
