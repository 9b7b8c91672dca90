#!/usr/bin/env python3
"""Fails where docs/TRL.md does not name a field of TRL's GRPOConfig, those that it inherits included. Needs trl.

    python tools/oracles/trl_fields.py

A field is named by a cell of a table's first column, in backticks; `vllm_*` names all that begin so.
"""
import dataclasses
import fnmatch
import pathlib
import re
import sys

import trl

DOC = pathlib.Path(__file__).resolve().parents[2] / "docs/TRL.md"


def main():
    sections = re.split(r"^## ", DOC.read_text(), flags=re.M)
    read = [s for s in sections if s.startswith(("Shared", "`GRPOConfig`"))]
    cells = [row.split("|")[1] for s in read for row in s.splitlines() if row.startswith("|")]
    named = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    fields = [f.name for f in dataclasses.fields(trl.GRPOConfig)]
    missing = [f for f in fields if not any(fnmatch.fnmatch(f, name) for name in named)]
    print(f"trl {trl.__version__}: {len(fields)} fields, {len(missing)} not in {DOC.name}", *missing)
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
