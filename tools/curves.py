"""Cost against tokens, pairs, steps, edges and threads, each a chart with the machine's limit beside it.

    python tools/curves.py TIMING MODEL OUT [REPS]

TIMING is our binary (cargo build -p benches), MODEL a checkpoint of the demo shape (tools/peers/models.py), OUT a folder for
cost-*.svg and cost.json. CPU seconds of all threads, which other work on the machine disturbs little; the median of REPS
(5) processes. The limit is the arithmetic of the matrix products that the work cannot do without, at the rate that
`timing product` has in the same minutes. No packages are needed.
"""
import json
import math
import os
import statistics
import subprocess
import sys

timing, model, out = sys.argv[1:4]
reps = int(sys.argv[4]) if len(sys.argv) > 4 else 5
os.environ |= {"MIMALLOC_PURGE_DELAY": "-1", "MIMALLOC_ALLOW_LARGE_OS_PAGES": "1"}  # as `sparks` sets for itself
config = json.load(open(os.path.join(model, "config.json")))
d, kv = config["hidden_size"], config["num_key_value_heads"] * config["hidden_size"] // config["num_attention_heads"]
layers = config["num_hidden_layers"]
weights = layers * (2 * d * d + 2 * d * kv + 3 * d * config["intermediate_size"])


def run(*args, threads=1):
    """The medians over processes of CPU and wall seconds; each process gives the median of its own repetitions."""
    env = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    lines = [subprocess.run([timing, *map(str, args)], env=env, capture_output=True, text=True, check=True).stdout for _ in range(reps)]
    rows = [json.loads(line) for line in lines]
    return [statistics.median(row[key] for row in rows) for key in ("cpu_median_s", "median_s")]


def operations(tokens, passes):
    """Of products with weights and of attention's two, of `passes` forward passes or gradients over `tokens`."""
    return passes * (2 * weights * tokens + 4 * layers * d * tokens * (tokens + 1) / 2)


def eap_ig(tokens, steps):
    """A clean and a corrupt pass, and one pass and its gradient a step."""
    return operations(tokens, 2 + 2 * steps)


rate = 2 * 1024 * 4096 * 1024 / run("product", model, "--reps", 9)[0]
print(f"products: {rate / 1e9:.1f} G operations a CPU second", flush=True)
charts = {}


def chart(name, axis, xs, work, limit, which=0, threads=1):
    points = []
    for x in xs:
        seconds = run(*work(x), threads=x if axis == "threads" else threads)[which]
        points.append([x, seconds, limit(x)])
        print(name, points[-1], flush=True)
    charts[name] = {"axis": axis, "unit": ["CPU seconds", "seconds"][which], "points": points}


fast = ("--reps", 5)
chart("tokens", "tokens of a prompt", [16, 32, 64, 128, 256, 512],
      lambda n: ("eap-ig", model, "--seq", n, *fast), lambda n: eap_ig(n, 5) / rate)
chart("pairs", "pairs of 16 tokens", [1, 4, 16, 64, 100],
      lambda n: ("eap-ig", model, "--seq", 16, "--pairs", n, *fast), lambda n: n * eap_ig(16, 5) / rate)
chart("steps", "integration steps, 64 tokens", [1, 2, 5, 10, 20],
      lambda n: ("eap-ig", model, "--seq", 64, "--steps", n, *fast), lambda n: eap_ig(64, n) / rate)
chart("edges", "edges of a circuit, 64 tokens", [10, 100, 400, 1600, 6400],
      lambda n: ("circuit", model, "--seq", 64, "--edges", n, *fast), lambda n: operations(64, 2) / rate)
cores = [n for n in (1, 2, 4, 8, 16) if n <= len(os.sched_getaffinity(0))]
chart("threads", "threads", cores,
      lambda n: ("forward", model, "--batch", 4, "--seq", 256, *fast), lambda n: operations(256, 4) / rate / n, which=1)


def svg(axis, unit, points):
    """Both axes logarithmic: work that grows as its input does is a straight line."""
    width, height, left, bottom, top = 460, 280, 64, 44, 28
    xs, ys = [p[0] for p in points], [y for p in points for y in p[1:]]
    spread = lambda low, high: (math.log10(low), math.log10(high) if high > low else math.log10(low) + 1)
    (x0, x1), (y0, y1) = spread(min(xs), max(xs)), (math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys))))
    at_x = lambda x: left + (math.log10(x) - x0) / (x1 - x0) * (width - left - 90)
    at_y = lambda y: height - bottom - (math.log10(y) - y0) / (y1 - y0) * (height - bottom - top)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             f'<text x="8" y="16">{unit}</text>',
             f'<text x="{(left + width - 90) / 2}" y="{height - 8}" text-anchor="middle">{axis}</text>']
    for x in xs:
        parts.append(f'<text x="{at_x(x):.1f}" y="{height - bottom + 16}" text-anchor="middle">{x}</text>')
    for power in range(y0, y1 + 1):
        y = at_y(10.0**power)
        parts.append(f'<path d="M{left} {y:.1f}H{width - 90}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for column, (name, color, dash) in enumerate([("measured", "#1f5fa8", ""), ("limit", "#777", "5 4")], 1):
        line = "L".join(f"{at_x(p[0]):.1f} {at_y(p[column]):.1f}" for p in points)
        parts.append(f'<path d="M{line}" fill="none" stroke="{color}" stroke-width="2" stroke-dasharray="{dash}"/>')
        parts += [f'<circle cx="{at_x(p[0]):.1f}" cy="{at_y(p[column]):.1f}" r="3" fill="{color}"/>' for p in points]
        last = points[-1]
        parts.append(f'<text x="{at_x(last[0]) + 8:.1f}" y="{at_y(last[column]) + 4:.1f}" fill="{color}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


os.makedirs(out, exist_ok=True)
for name, of in charts.items():
    open(os.path.join(out, f"cost-{name}.svg"), "w").write(svg(of["axis"], of["unit"], of["points"]))
json.dump({"product_rate": rate, "charts": charts}, open(os.path.join(out, "cost.json"), "w"), indent=1)
