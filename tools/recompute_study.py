"""Recomputes the numbers of a study's results.json from its job folders: recompute_study.py STUDY_DIR

Accuracies and their differences from the samples, head sets and cohorts from the circuits, verdicts' p-values after
correction. Prints every number that differs, and how many were compared; exit status 1 where one differs.
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(sys.argv[1])
RESULTS = json.loads((ROOT / "results.json").read_text())
compared, wrong = 0, []


def check(what, found, stated, tolerance=1e-9):
    global compared
    compared += 1
    if tolerance is None:
        same = len(found) == len(stated) and all(abs(a - b) <= 1e-9 for a, b in zip(found, stated))
    else:
        same = abs(found - stated) <= tolerance if isinstance(found, float) else found == stated
    if not same:
        wrong.append(f"{what}: {found} here, {stated} in results.json")


def samples(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def rates(folder, problems):
    """Share of right samples of each problem, from samples.jsonl."""
    right = {name: [] for name in problems}
    for record in samples(folder):
        if record["id"] in right:
            right[record["id"]].append(record["verdict"]["correct"])
    return [sum(r) / max(len(r), 1) for r in right.values()]


def mean(values):
    return sum(values) / len(values)


problems = {b["name"]: b["problems"] for b in RESULTS.get("benchmarks", [])}
for answer in RESULTS.get("answers", []):
    name = f"{answer['checkpoint']}/{answer['benchmark']}"
    found = rates(ROOT / "stages/answers" / name / "samples", problems[answer["benchmark"]])
    check(f"answers {name}: rates", found, answer["rates"])
    check(f"answers {name}: pass@1", mean(found), answer["measures"]["pass_at_1"]["estimate"])

for row in RESULTS["interventions"]:
    action = row["action"]
    action = f"x{action['factor']:g}" if action["kind"] == "scale" else action["kind"]
    name = "/".join([row["training"], row["suite"], row["set"], action, row["checkpoint"]])
    folder, ids = ROOT / "stages/interventions" / name, problems[row["suite"]][: row["n"]]
    found = rates(folder / "samples", ids)
    check(f"interventions {name}: rates", found, row["rates"])
    whole = next(
        a["rates"] for a in RESULTS["answers"]
        if a["checkpoint"] == row["checkpoint"] and a["benchmark"] == row["suite"]
    )[: row["n"]]
    check(f"interventions {name}: difference", mean(found) - mean(whole), row["difference"]["estimate"])
    draws = [mean(rates(folder / f"draw-{k}", ids)) for k in range(len(row["random"]))]
    for k, draw in enumerate(row["random"]):
        check(f"interventions {name}: draw {k}", draws[k], draw["accuracy"]["estimate"])
    if row.get("p_value") is not None:
        far = lambda x: abs(x - mean(whole))
        as_far = sum(far(d) >= far(mean(found)) - 1e-12 for d in draws)
        check(f"interventions {name}: p", (as_far + 1) / (len(draws) + 1), row["p_value"])


for row in RESULTS.get("transfers", []):
    name = f"{row['suite']}/{row['from']}-to-{row['into']}"
    done = json.loads((ROOT / "stages/transfers" / name / "done.json").read_text())
    at = done["inputs"]["heads"].index(row["heads"])
    of = done["result"][at]
    changes = [mean(values) - mean(of["before"]) for _, values in of["after"]]
    gap = mean(of["source"]) - mean(of["before"])
    check(f"transfers {name}: change", changes[0], row["change"]["estimate"])
    check(f"transfers {name}: random", changes[1:], [draw["change"] for draw in row["random"]], tolerance=None)
    if row.get("p_value") is not None:
        toward = 1 if gap > 0 else -1
        as_far = sum(toward * x >= toward * changes[0] - 1e-9 for x in changes[1:])
        check(f"transfers {name}: p", (as_far + 1) / len(changes), row["p_value"])

CONTROLS = RESULTS.get("controls") or {}
for kind in ("positive", "negative"):
    if control := CONTROLS.get(kind):
        found = sum(trial["found"] for trial in control["trials"])
        check(f"controls {kind}: rate", found / len(control["trials"]), control["rate"]["estimate"])
for row in CONTROLS.get("matched", []):
    for folder in (ROOT / "stages/controls/matched" / row["training"]).glob("seed-*"):
        done = json.loads((folder / "done.json").read_text())["result"]
        mine = [trial for trial in row["trials"] if trial["seed"] == done["trial"]["seed"]]
        check(f"controls {row['training']}: {folder.name}", [done["trial"]], mine)
        check(f"controls {row['training']}: change", done["change"], row["change"])

for case in RESULTS.get("cases", []):
    for label, when in ((case["against"], "before"), (case["checkpoint"], "after")):
        name = f"{label}/{case['benchmark']}"
        wrong_samples = sum(not s["verdict"]["correct"] for s in samples(ROOT / "stages/answers" / name / "samples"))
        check(f"cases {name}: wrong samples", wrong_samples, sum(f[when] for f in case["failures"]))


def heads(label, suite, rule):
    """Heads of a circuit: ends of its edges."""
    graph = json.loads((ROOT / "stages/circuits" / label / suite / rule / "circuit.json").read_text())
    found = set()
    for edge, value in graph["edges"].items():
        if value["in_graph"]:
            for node in edge.split("<")[0].split("->"):
                if node.startswith("a"):
                    layer, head = node[1:].split(".h")
                    found.add((int(layer), int(head)))
    return found


def text(found):
    return [f"L{layer}H{head}" for layer, head in sorted(found)]


base = RESULTS["base"]["label"]
for study in RESULTS["heads"]:
    at = (study["suite"], study["rule"])
    before, seen = heads(base, *at), heads(base, *at)
    sets = [heads(c["label"], *at) for c in study["checkpoints"]]
    previous, cohorts = before, []
    for k, (checkpoint, change, now) in enumerate(zip(study["checkpoints"], study["changes"], sets)):
        name = f"heads {study['training']}/{at}/{checkpoint['label']}"
        check(f"{name}: circuit", text(now), checkpoint["circuit"]["heads"])
        check(f"{name}: new", text(now - before), change["gained"])
        check(f"{name}: lost", text(before - now), change["lost"])
        check(f"{name}: births", text(now - previous), change["births"])
        either = now | previous
        check(f"{name}: turnover", len(now ^ previous) / len(either) if either else 0.0, change["turnover"])
        first = now - seen
        seen |= now
        if first:
            cohorts.append({"step": checkpoint["step"], "heads": text(first),
                            "alive": [len(first & later) for later in sets[k:]]})
        previous = now
    check(f"heads {study['training']}/{at}: cohorts", cohorts, study["cohorts"])

tests = [h for h in RESULTS.get("hypotheses", []) if h["p_value"] is not None]
largest = 0.0
for k, h in enumerate(sorted(tests, key=lambda h: h["p_value"])):
    largest = min(1.0, max(largest, (len(tests) - k) * h["p_value"]))
    check(f"hypothesis {h['id']}: corrected", largest, h["corrected"])

print(f"{compared} numbers and lists compared, {len(wrong)} differ")
print("\n".join(wrong))
sys.exit(bool(wrong))
