"""Condenses what tools/demo_evidence.sh ran: demo_evidence.py OUT -> OUT/demo-evidence.json"""

import datetime
import json
import math
import pathlib
import sys

OUT = pathlib.Path(sys.argv[1])
COMMAND = f"tools/demo_evidence.sh SPARKS OUT  # {datetime.date.today()}, not by this study"
DIFFER = "All begin with the same base; problems, pairs (and so the base's circuit), training data and samples are drawn anew."


def wilson(k, n, z=1.959963984540054):
    p = k / n
    centre, half = (p + z * z / (2 * n)) / (1 + z * z / n), z / (1 + z * z / n) * math.sqrt(
        p * (1 - p) / n + z * z / (4 * n * n))
    return {"estimate": p, "low": min(max(centre - half, 0.0), p), "high": max(min(centre + half, 1.0), p)}


def trials_of(kind):
    paths = (OUT / "seed-0/stages/controls" / kind).glob("seed-*/done.json")
    return [json.loads(path.read_text())["result"]
            for path in sorted(paths, key=lambda p: int(p.parent.name.split("-")[1]))]


def matched(training):
    trials = trials_of(f"matched/{training}")
    return {"training": training, "change": trials[0]["change"], "command": COMMAND,
            "trials": [t["trial"] for t in trials]}


def control(kind, planted, level):
    trials = trials_of(kind)
    return {"planted": planted, "command": COMMAND, "trials": trials,
            "rate": wilson(sum(t["found"] for t in trials), len(trials)), "level": level}


runs, controls = [], None
for seed in (0, 1, 2):
    results = json.loads((OUT / f"seed-{seed}/results.json").read_text())
    controls = controls or results["controls"]
    runs.append({
        "seed": seed,
        "base": results["base"]["accuracy"],
        "base_heads": results["base"]["circuit"]["heads"],
        "trainings": [{
            "name": t["name"], "accuracy": t["checkpoints"][-1]["accuracy"], "new": t["changes"][-1]["gained"],
            "emergent": t["changes"][-1].get("emergent", []), "lost": t["changes"][-1]["lost"],
        } for t in results["trainings"]],
        "verdicts": [{"id": h["id"], "effect": h["effect"], "verdict": h["verdict"]} for h in results["hypotheses"]],
    })
evidence = {
    "controls": {kind: control(kind, controls[kind]["planted"], controls[kind]["level"])
                 for kind in ("positive", "negative")}
    | {"matched": [matched(t["name"]) for t in runs[0]["trainings"]]},
    "stability": {"command": COMMAND, "differ": DIFFER, "runs": runs},
}
(OUT / "demo-evidence.json").write_text(json.dumps(evidence, indent=1) + "\n")
for kind in ("positive", "negative"):
    row = evidence["controls"][kind]
    print(kind, row["rate"], "changed:", sum(t["changed"] for t in row["trials"]), "of", sum(t["tested"] for t in row["trials"]))
for row in evidence["controls"]["matched"]:
    counts = {key: [len(t[key]) for t in row["trials"]] for key in ("new", "emergent", "lost")}
    counts["changed"] = [t["changed"] for t in row["trials"]]
    told = ", ".join(f"{key} {sum(n) / len(n):.2f} (at most {max(n)})" for key, n in counts.items())
    some = sum(n > 0 for n in counts["emergent"])
    print(f"noise as large as {row['training']} ({row['change']:.3f}): {told}; some emergent in {some} of {len(row['trials'])}")
