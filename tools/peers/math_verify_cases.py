"""Cases of math-verify's own tests, and crossed pairs labelled by running it, for `grader_report`.

    pip install math-verify==0.9.0 pytest; pip download --no-deps --no-binary :all: math-verify==0.9.0; tar xf math_verify-0.9.0.tar.gz
    python tools/peers/math_verify_cases.py math_verify-0.9.0 OUT

Writes OUT/own.jsonl (labels of its tests) and OUT/crossed.jsonl (a reference beside another case's prediction or reference, of the
same test function, labelled by the package). Nothing of either enters the project.
"""
import collections
import importlib
import inspect
import json
import logging
import random
import sys
from pathlib import Path

logging.disable(logging.CRITICAL)
sys.path.insert(0, sys.argv[1])
Path(sys.argv[1], "tests", "__init__.py").touch()
out = Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify  # noqa: E402

DEFAULTS = {}
asked = []


def record(gold, pred, match_types=("latex", "expr"), precision=6, strict=True, allow_set_relation_comp=False):
    """In place of the tests' compare_strings: keeps what was asked."""
    asked.append((gold, pred, {"match_types": list(match_types), "precision": precision, "strict": strict,
                               "allow_set_relation_comp": allow_set_relation_comp}))


cases = []  # (test function, gold, pred, options, expected)
for module in ["test_all", "test_boxed", "test_numina_cases", "test_open_thoughts", "test_strict", "test_yujianll"]:
    tests = importlib.import_module("tests." + module)
    if hasattr(tests, "compare_strings"):
        tests.compare_strings = record
    for name, test in inspect.getmembers(tests, inspect.isfunction):
        marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
        if not name.startswith("test_") or not marks:
            continue
        fields = [f.strip() for f in marks[0].args[0].split(",")]
        for values in marks[0].args[1]:
            given = dict(zip(fields, values))
            where = f"{module}::{name}"
            if module == "test_yujianll":  # calls parse and verify itself, with the defaults
                cases.append((where, given["gold"], given["pred"], DEFAULTS, bool(given["result"])))
                continue
            asked.clear()
            try:
                test(**given)
            except (AssertionError, TypeError):
                pass  # record returns None, which no assertion expects
            cases += [(where, *one, bool(given["expected"])) for one in asked]

parsed = {}


def reading(text, types):
    key = (text, tuple(types or ()))
    if key not in parsed:
        how = [LatexExtractionConfig(boxed_match_priority=0) if t == "latex" else ExprExtractionConfig() for t in types or ()]
        parsed[key] = parse(text, how, raise_on_error=False) if how else parse(text, raise_on_error=False)
    return parsed[key]


def label(gold, pred, options):
    more = dict(float_rounding=options["precision"], strict=options["strict"],
                allow_set_relation_comp=options["allow_set_relation_comp"]) if options else {}
    types = options.get("match_types")
    return bool(verify(reading(gold, types), reading(pred, types), **more))


def write(name, rows):
    with open(out / name, "w") as f:
        for i, (where, gold, pred, options, expected) in enumerate(rows):
            helper = "compare_strings" if options else "parse_verify_defaults"
            f.write(json.dumps({"id": f"{name[0]}{i}", "gold": gold, "pred": pred, "expected": expected, "source": where,
                                "options": options, "helper": helper}) + "\n")
    print(name, len(rows), "cases,", sum(r[4] for r in rows), "of them equal")


write("own.jsonl", cases)
groups, seen, crossed = collections.defaultdict(list), set(), []
for case in cases:
    groups[case[0]].append(case)
for where, group in groups.items():
    pairs = [(a[1], b[field], a[3]) for field in (2, 1) for a in group for b in group if a is not b]
    random.Random(where).shuffle(pairs)
    for gold, pred, options in pairs[:700]:
        if (gold, pred) not in seen:
            seen.add((gold, pred))
            crossed.append((where, gold, pred, options, label(gold, pred, options)))
write("crossed.jsonl", crossed)
