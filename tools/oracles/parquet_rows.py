"""Parquet files as data sets have them, and the same rows as JSONL.

Usage: python tools/oracles/parquet_rows.py crates/posttrain/testdata/parquet   (pyarrow, datasets)

Conversations with null fields, lists of text parts, numbers, dates, dictionaries, maps, bytes; each compression that
the hub has; row groups of three; a file of `datasets.Dataset.to_parquet`.
"""
import datetime, decimal, json, os, sys

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
call = {"function": {"name": "add", "arguments": '{"a": 2}'}, "type": "function"}
rows = [
    {
        "id": i,
        "messages": [
            {"role": "user", "content": f"{i} + 2? é€", "tool_calls": None},
            {"role": "assistant", "content": None if i == 3 else str(i + 2), "tool_calls": [call] if i == 3 else None},
        ],
        "parts": [{"type": "text", "text": "a" * i}] if i % 2 else [],
        "ids": list(range(i)),
        "flag": i % 3 == 0,
        "weight": 0.5 * i,
        "small": i if i != 2 else None,
        "source": ["gsm8k", "math"][i % 2],
        "note": None,
    }
    for i in range(7)
]
schema = pa.schema([
    ("id", pa.int64()),
    ("messages", pa.list_(pa.struct([
        ("role", pa.string()), ("content", pa.string()),
        ("tool_calls", pa.list_(pa.struct([
            ("function", pa.struct([("name", pa.string()), ("arguments", pa.string())])), ("type", pa.string()),
        ]))),
    ]))),
    ("parts", pa.large_list(pa.struct([("type", pa.string()), ("text", pa.large_string())]))),
    ("ids", pa.list_(pa.int32())),
    ("flag", pa.bool_()),
    ("weight", pa.float64()),
    ("small", pa.uint8()),
    ("source", pa.dictionary(pa.int32(), pa.string())),
    ("note", pa.string()),
])
table = pa.Table.from_pylist(rows, schema=schema)
for compression in ["none", "snappy", "zstd", "gzip"]:
    version = {"zstd": "2.0"}.get(compression, "1.0")
    pq.write_table(
        table, os.path.join(out, f"{compression}.parquet"), compression=compression, row_group_size=3, data_page_version=version
    )
with open(os.path.join(out, "rows.jsonl"), "w") as f:
    f.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
plain = [{"prompt": row["messages"][0]["content"], "completion": "x", "weight": row["weight"]} for row in rows]
datasets.Dataset.from_list(plain).to_parquet(os.path.join(out, "hub.parquet"))
with open(os.path.join(out, "hub.jsonl"), "w") as f:
    f.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in plain)
other = pa.table({
    "day": pa.array([datetime.date(2026, 1, 2)]),
    "price": pa.array([decimal.Decimal("1.50")], pa.decimal128(6, 2)),
    "image": pa.array([b"\xff\xd8\xff"]),
    "text": pa.array([b"as bytes"]),
    "nan": pa.array([float("nan")]),
    "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
})
pq.write_table(other, os.path.join(out, "other.parquet"))
