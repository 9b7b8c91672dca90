"""Every field of TRL's SFTConfig is in docs/TRL.md: exits with the names of those that are not.

Usage: python tools/oracles/trl_table.py docs/TRL.md [SFTConfig GRPOConfig …]   (trl 1.16)

A field counts where its name stands between backticks in the first column of a row, as such or as `start*`.
"""
import dataclasses, re, sys

import trl

text = open(sys.argv[1]).read()
rows = [line for line in text.splitlines() if line.startswith("|")]
named = {name for row in rows for name in re.findall(r"`([A-Za-z_0-9]+\*?)(?:=[^`]*)?`", row.split("|")[1])}
exact = {name for name in named if not name.endswith("*")}
starts = tuple(name[:-1] for name in named if name.endswith("*"))
wrong = False
for config in sys.argv[2:] or ["SFTConfig"]:
    fields = {field.name for field in dataclasses.fields(getattr(trl, config))}
    missing = sorted(name for name in fields if name not in exact and not name.startswith(starts))
    if missing:
        wrong = True
        print(f"{config}: not in the table: {', '.join(missing)}")
sys.exit(1 if wrong else 0)
