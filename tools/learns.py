#!/usr/bin/env python3
"""Does GRPO learn, and only what is rewarded? From the shipped base (crates/toy/assets), on sums of three and four numbers.

    python tools/learns.py SPARKS OUT [--seeds N] [--steps N]

For each seed a run on right answers and one on answers that were dealt to other problems, with the settings of the demo. Prints
accuracy on 400 held-out sums before and after with 95 % intervals (Wilson), and CPU seconds. Exit status 1 unless every run on
right answers ends above the base's interval with an interval of its own apart from it, and no shuffled one does.
"""
import argparse
import json
import pathlib
import random
import resource
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIG = """model.path = "{model}"
data.train = "{train}"
data.eval = "held_out.jsonl"
run.dir = "{dir}"
run.seed = {seed}
run.eval_every = {steps}
run.checkpoint_every = 0
train.steps = {steps}
train.batch_size = 128
optimizer.lr = {lr}
schedule.kind = "constant"
schedule.warmup_steps = {warmup}
grpo.prompts = {prompts}
grpo.group_size = 8
grpo.max_tokens = 44
"""


def sums(r, n, known):
    out = []
    while len(out) < n:
        numbers = [r.randrange(10, 100) for _ in range(r.choice([3, 4]))]
        if (key := tuple(sorted(numbers))) not in known:
            known.add(key)
            out.append({"problem": "+".join(map(str, numbers)) + "=", "answer": sum(numbers)})
    return out


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(a, name, **given):
    config = dict(model=ROOT / "crates/toy/assets", dir=name, steps=a.steps, lr=4e-4, warmup=3, prompts=16) | given
    (a.out / f"{name}.toml").write_text(CONFIG.format(**config))
    subprocess.run([a.sparks, "grpo", f"{name}.toml", "--quiet"], cwd=a.out, check=True)
    lines = [json.loads(line) for line in (a.out / name / "metrics.jsonl").read_text().splitlines()]
    last, used = lines[-1], resource.getrusage(resource.RUSAGE_CHILDREN)
    low, high = last["eval_accuracy_low"], last["eval_accuracy_high"]
    print(f"{name}: {last['eval_accuracy']:.3f} [{low:.3f}, {high:.3f}], reward of the first and last five steps "
          f"{sum(line['reward'] for line in lines[:5]) / len(lines[:5]):.3f} {sum(line['reward'] for line in lines[-5:]) / len(lines[-5:]):.3f}, "
          f"CPU so far {used.ru_utime + used.ru_stime:.0f} s", flush=True)
    return low, high


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("sparks", type=lambda path: pathlib.Path(path).resolve())
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--steps", type=int, default=300)
    a = p.parse_args()
    a.out.mkdir(parents=True)
    r, known = random.Random(1), set()
    write(a.out / "held_out.jsonl", sums(r, 400, known))
    train = sums(r, 2000, known)
    write(a.out / "right.jsonl", train)
    answers = [row["answer"] for row in train]
    r.shuffle(answers)
    write(a.out / "shuffled.jsonl", [row | {"answer": answer} for row, answer in zip(train, answers)])
    # One step at a rate of almost 0 shows the base.
    _, base = run(argparse.Namespace(**vars(a) | {"steps": 1}), "base", train="right.jsonl", seed=0, lr=1e-12, warmup=0, prompts=1)
    ok = True
    for seed in range(a.seeds):
        ok &= run(a, f"right-{seed}", train="right.jsonl", seed=seed)[0] > base
        ok &= not run(a, f"shuffled-{seed}", train="shuffled.jsonl", seed=seed)[0] > base
    print("learns what is rewarded" if ok else "does NOT learn what is rewarded")
    return not ok


if __name__ == "__main__":
    sys.exit(main())
