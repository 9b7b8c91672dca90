#!/usr/bin/env bash
# Builds the command with `--features cuda` from packages alone, strips and packs it: no GPU, no CUDA toolkit and no
# download in a build script are needed here.
#   tools/cuda/build.sh [OUT]     OUT/sparks and OUT/sparks.xz; default target/cuda, relative to the repository
# FEATURES=nccl, or mpi,cuda, for several GPUs (docs/SCALE.md) instead of cuda; these want MPI, and have not been built so.
# Python 3.9 or later for the LLVM wheel (396 MB, once, in $SPARKS_LLVM, default ~/.cache/thinking-sparks/llvm).
# Cold: some 40 CPU-minutes; the target folder is OUT/build, apart from the one of the CPU build.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-target/cuda}
mkdir -p "$out"
out=$(cd "$out" && pwd)
llvm=${SPARKS_LLVM:-$HOME/.cache/thinking-sparks/llvm}
# The LLVM that `tracel-llvm-bundler` would download: its folder and the mark that it looks for.
bundle=tracel-llvm-23.1.0-4 wheel='mlc-llvm-static[all]==23.1.1.post0'
if [ ! -e "$llvm/data/tracel/$bundle/.tracel-llvm-installed" ]; then
    python3 -m venv "$llvm/venv"
    "$llvm/venv/bin/pip" install --quiet "$wheel"
    prefix=$("$llvm/venv/bin/python" -m mlc_llvm_static.config --prefix)
    mkdir -p "$llvm/data/tracel"
    ln -sfn "$prefix" "$llvm/data/tracel/$bundle"
    touch "$prefix/.tracel-llvm-installed"
fi
# cudarc asks the driver for no function newer than CUDA 13.0.
export XDG_DATA_HOME=$llvm/data CUDARC_CUDA_VERSION=13000
cargo build --release --locked -p sparks --features "${FEATURES:-cuda}" --target-dir "$out/build"
strip -o "$out/sparks" "$out/build/release/sparks"
xz --threads=0 --keep --force "$out/sparks"
size=$(stat -c %s "$out/sparks.xz")
echo "$out/sparks.xz: $((size >> 20)) MiB"
[ "$size" -le $((50 << 20)) ] || { echo "more than 50 MiB" >&2; exit 1; }
