"""How far one rounding of the weights moves logits and EAP-IG scores on the CPU: what the tolerances of check.py are measured by.
`python rounding.py SPARKS OUT`, OUT the folder of `check.sh SPARKS OUT parity` (tiny/, rows.json, pairs.jsonl)."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

SPARKS, OUT = sys.argv[1], pathlib.Path(sys.argv[2])
HERE = pathlib.Path(tempfile.mkdtemp())


def run(model):
    cpu = ["--device", "cpu", "--quiet"]
    subprocess.run([SPARKS, "attribute", model, "--pairs", OUT / "pairs.jsonl", "--steps", "5", "--out", HERE / "s.json", *cpu],
                   check=True)
    subprocess.run([SPARKS, "forward", model, "--input", OUT / "rows.json", "--out", HERE / "l.safetensors", *cpu], check=True)
    edges = json.loads((HERE / "s.json").read_text())["edges"]
    scores = torch.tensor([edges[name]["score"] for name in sorted(edges)])
    return {"scores": scores.double(), "logits": load_file(HERE / "l.safetensors")["logits"].double()}


before = run(OUT / "tiny")
for seed in range(4):
    torch.manual_seed(seed)
    moved = HERE / f"moved-{seed}"
    shutil.copytree(OUT / "tiny", moved)
    weights = load_file(OUT / "tiny" / "model.safetensors")
    # By up to 2^-23 of each weight: about one unit in its last place.
    weights = {k: (w.double() * (1 + (torch.rand(w.shape, dtype=torch.float64) * 2 - 1) * 2**-23)).float()
               for k, w in weights.items()}
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    after = run(moved)
    print({k: float((after[k] - before[k]).abs().max() / before[k].abs().max()) for k in before})
