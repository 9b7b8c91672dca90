#!/usr/bin/env bash
# Parity with the CPU and timing beside torch, on a machine with a GPU and python3 with torch, transformers 5 and PEFT.
#   tools/cuda/check.sh BINARY [OUT] [WORK]   BINARY: sparks of tools/cuda/build.sh, or its .xz
# WORK: parity, speed or all (default). OUT (default cuda-check) gets check.json and check.md. Exit status 1 where a number
# is outside its tolerance. DEVICE=wgpu:cpu checks a build with the feature wgpu in the same way, parity only.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=${1:?usage: check.sh BINARY [OUT] [WORK]} out=${2:-cuda-check} work=${3:-all}
python3 -c 'import torch, transformers, peft' 2>/dev/null || {
    echo "check.sh: python3 lacks torch, transformers or peft" >&2
    exit 2
}
mkdir -p "$out"
if [[ $binary == *.xz ]]; then
    xz --decompress --keep --stdout "$binary" > "$out/sparks"
    chmod +x "$out/sparks"
    binary=$out/sparks
fi
# exp and log come from libdevice, which is in every CUDA toolkit.
for toolkit in "${CUDA_PATH:-}" /usr/local/cuda /opt/cuda /usr/lib/cuda; do
    [ -e "$toolkit/nvvm/libdevice/libdevice.10.bc" ] && export CUDA_PATH=$toolkit && break
done
export HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
exec python3 "$here/check.py" "$(realpath "$binary")" "$out" "$work"
