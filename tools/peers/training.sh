#!/usr/bin/env bash
# Optimiser steps of SFT and GRPO, ours and the peers' in turn, on two threads; prints one line a comparison.
#   tools/peers/training.sh PEERS MODELS [ROUNDS]
# PEERS holds the peers' scripts (sft.py, grpo.py), run by PYTHON (default `python`) with torch, transformers, PEFT, TRL; MODELS the
# checkpoints demo, q05, q15-bf16 of tools/peers/models.py. TRAINING names our binary (cargo build -p benches), ONLY a
# pattern of comparisons. CPU seconds are the figure to look at where the machine is shared.
set -euo pipefail
peers=$1 models=$2 rounds=${3:-5} training=${TRAINING:-target/debug/training} only=${ONLY:-.} python=${PYTHON:-python}
here=$(cd "$(dirname "$0")" && pwd)
export MIMALLOC_PURGE_DELAY=-1 MIMALLOC_ALLOW_LARGE_OS_PAGES=1 RAYON_NUM_THREADS=2  # as `sparks` sets for itself
export OMP_WAIT_POLICY=PASSIVE PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
compare() { # NAME | OUR ARGUMENTS | PEER COMMAND, empty where there is none
    [[ "$1" =~ $only ]] || return 0
    for _ in $(seq "$rounds"); do
        echo "ours $($training $2 | tail -1)"
        [ -z "$3" ] || echo "peer $(cd "$peers" && $python $3 2>/dev/null | tail -1)"
    done | "$python" -c '
import json, statistics, sys
rows = [line.split(" ", 1) for line in sys.stdin]
def get(who, key):
    values = [json.loads(r[1])[key] for r in rows if r[0] == who]
    return statistics.median(values) if values else float("nan")
w, c, m = (([get(who, k) for who in ("ours", "peer")]) for k in ("median_s", "cpu_median_s", "peak_rss_mb"))
print(f"{sys.argv[1]}: wall {w[0]:.3f} {w[1]:.3f} s = {w[1]/w[0]:.2f}x | CPU {c[0]:.3f} {c[1]:.3f} s = {c[1]/c[0]:.2f}x | peak {m[0]:.0f} {m[1]:.0f} MB", flush=True)' "$1"
}
compare "full demo 4x128" "sft $models/demo --batch 4 --seq 128 --reps 10" "sft.py --shape demo --batch 4 --seq 128 --reps 10 --warmup 2"
compare "full 0.5B 1x128" "sft $models/q05 --seq 128 --reps 2" "sft.py --shape qwen05b --seq 128 --reps 2"
compare "LoRA 0.5B 1x512" "sft $models/q05 --seq 512 --rank 16 --reps 2" "$here/sft_lora.py --shape qwen05b --seq 512 --reps 2"
compare "LoRA 0.5B 1x512 recomputed" "sft $models/q05 --seq 512 --rank 16 --recompute --reps 2" ""
compare "LoRA 1.5B 1x256 bf16" "sft $models/q15-bf16 --dtype bf16 --seq 256 --rank 16 --reps 2" ""
compare "GRPO demo 8x64" "grpo $models/demo --reps 10" "grpo.py --shape demo --reps 10 --warmup 2"
