#!/usr/bin/env bash
# Ours and the peers' timings in turn, on an otherwise idle machine; prints one line a comparison.
#   tools/peers/peers.sh PEERS MODELS [ROUNDS]
# PEERS holds the peers' scripts (forward.py, decode.py, eap_ig.py, circuit_eval.py), run by `python` with torch, transformers,
# TransformerLens < 4 and the EAP-IG package; MODELS the checkpoints demo, q05, q05-bf16 of the shapes in common_bench.py
# (save_pretrained of its random models). TIMING names our binary (cargo build --workspace --all-targets).
set -euo pipefail
peers=$1 models=$2 rounds=${3:-5} timing=${TIMING:-target/debug/timing} only=${ONLY:-.}
here=$(cd "$(dirname "$0")" && pwd)
export MIMALLOC_PURGE_DELAY=-1 MIMALLOC_ALLOW_LARGE_OS_PAGES=1  # as `sparks` sets for itself
export OMP_WAIT_POLICY=PASSIVE PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
compare() { # NAME | OUR ARGUMENTS | PEER COMMAND
    [[ "$1" =~ $only ]] || return 0
    for _ in $(seq "$rounds"); do
        echo "ours $($timing $2 | tail -1)"
        echo "peer $(cd "$peers" && python $3 2>/dev/null | tail -1)"
    done | python -c '
import json, statistics, sys
rows = [line.split(" ", 1) for line in sys.stdin]
get = lambda who, key: statistics.median(json.loads(r[1])[key] for r in rows if r[0] == who)
w, c, m = (([get(who, k) for who in ("ours", "peer")]) for k in ("median_s", "cpu_median_s", "peak_rss_mb"))
print(f"{sys.argv[1]}: wall {w[0]:.3f} {w[1]:.3f} s = {w[1]/w[0]:.2f}x | CPU {c[0]:.3f} {c[1]:.3f} s = {c[1]/c[0]:.2f}x | peak {m[0]:.0f} {m[1]:.0f} MB", flush=True)' "$1"
}
compare "forward 1x128" "forward $models/q05 --seq 128 --reps 3" "forward.py --shape qwen05b --seq 128 --reps 3"
compare "forward 4x256" "forward $models/q05 --batch 4 --seq 256 --reps 2" "forward.py --shape qwen05b --batch 4 --seq 256 --reps 2"
compare "decode f32" "decode $models/q05 --seq 32 --new 64 --reps 2" "decode.py --shape qwen05b --prompt 32 --new 64 --reps 2"
compare "decode bf16" "decode $models/q05-bf16 --dtype bf16 --seq 32 --new 64 --reps 2" "decode.py --shape qwen05b --dtype bf16 --prompt 32 --new 64 --reps 2"
compare "decode f32 batch 8" "decode $models/q05 --batch 8 --seq 32 --new 32 --reps 2" "decode.py --shape qwen05b --batch 8 --prompt 32 --new 32 --reps 2"
compare "decode f32 batch 32" "decode $models/q05 --batch 32 --seq 32 --new 32 --reps 2" "decode.py --shape qwen05b --batch 32 --prompt 32 --new 32 --reps 2"
compare "decode demo batch 8" "decode $models/demo --batch 8 --seq 32 --new 64 --reps 5" "decode.py --shape demo --batch 8 --prompt 32 --new 64 --reps 5"
compare "gradients 1x128" "grads $models/q05 --seq 128 --reps 3" "$here/grads.py --shape qwen05b --seq 128 --reps 3"
compare "load to logits" "load $models/q05 --seq 8 --reps 2" "$here/load.py $models/q05"
compare "eap-ig demo" "eap-ig $models/demo --seq 64 --reps 5" "eap_ig.py --shape demo --seq 64 --steps 5 --reps 3"
compare "circuit demo" "circuit $models/demo --seq 64 --reps 20" "circuit_eval.py --shape demo --seq 64 --edges 400 --reps 5"
compare "eap-ig 0.5B" "eap-ig $models/q05 --seq 64 --reps 2" "eap_ig.py --shape qwen05b --seq 64 --steps 5 --reps 1 --warmup 0"
compare "circuit 0.5B" "circuit $models/q05 --seq 64 --edges 4000 --reps 3" "circuit_eval.py --shape qwen05b --seq 64 --edges 4000 --reps 1 --warmup 0"
