// Accuracy: before and after, over checkpoints, against the size of the circuit, at k samples, with heads changed.

// Accuracies of the base and of every training's picked checkpoint.
const accuraciesOf = (results, suite, pick) => {
  const row = (name, at) => ({ name, at, accuracy: at.accuracy.find((a) => a.suite === suite) });
  const rows = results.trainings
    .filter((t) => t.checkpoints.length)
    .map((t) => {
      const at = placeOf(t.checkpoints, pick);
      return row(t.name, at < 0 ? results.base : t.checkpoints[at]);
    });
  return [row("Base", results.base), ...rows].filter((r) => r.accuracy);
};

const interval = (rows, y, colour, width) =>
  Plot.ruleY(rows, { y, x1: "low", x2: "high", stroke: colour, strokeWidth: width ?? 2 });

FIGURES.accuracy = (results, pick) => {
  const benchmark = pick.benchmark ?? results.base.accuracy[0]?.suite;
  const rows = accuraciesOf(results, benchmark, pick).map(({ name, at, accuracy }) => ({
    name,
    label: at.label,
    n: accuracy.n,
    worked: accuracy.worked,
    ...accuracy.interval,
  }));
  if (!rows.length) return { missing: `no checkpoint was measured on ${benchmark ?? "a benchmark"}` };
  const about = results.benchmarks?.find((b) => b.name === benchmark)?.description ?? "";
  return {
    title: `Accuracy on ${benchmark}, n = ${d3.max(rows, (r) => r.n)}`,
    caption: `${about} Dot: accuracy, the share of right samples, mean over ${count(d3.max(rows, (r) => r.n), "problem")}${samplesOf(results, benchmark)}; bar: its 95 % interval over problems; dashed line: the base. Look for bars that stay clear of the base's bar.`,
    label: rows.map((r) => `${r.name} ${between(r, percent)}`).join("; "),
    columns: ["model", "checkpoint", "accuracy", "low", "high", "problems", "thinks first"],
    rows: rows.map((r) => [r.name, r.label, r.estimate, r.low, r.high, r.n, r.worked ?? ""]),
    draw: (env) => {
      const text = (r) => `${r.name} (${r.label}): ${between(r, percent)}, n = ${r.n}`;
      return plot(env, {
        height: 56 + 34 * rows.length,
        marginLeft: 30 + 7 * d3.max(rows, (r) => Math.min(r.name.length, 22)),
        marginRight: 50,
        x: { domain: [0, 1], tickFormat: (v) => Math.round(100 * v), label: "accuracy, %", grid: true, ticks: 5 },
        y: { domain: rows.map((r) => r.name), label: null, type: "band" },
        marks: [
          Plot.ruleX(rows.filter((r) => r.name === "Base"), { x: "estimate", stroke: env.colour("base"), strokeDasharray: "5 4" }),
          interval(rows, "name", (r) => env.colour(r.name === "Base" ? "muted" : "ink")),
          Plot.dot(rows, { x: "estimate", y: "name", r: 5.5, fill: (r) => env.colour(r.name === "Base" ? "muted" : "ink"), ariaLabel: text }),
          Plot.text(rows, { x: 1, y: "name", dx: 8, textAnchor: "start", text: (r) => percent(r.estimate), fill: env.colour("ink") }),
          ...tips(env, rows, { x: "estimate", y: "name", title: text }),
        ],
      });
    },
  };
};

// Heights for the names at the ends of lines: those of the ends, moved apart where they would lie on each other.
const apart = (rows, gap = 0.07) => {
  const sorted = d3.sort(rows, (r) => -r.estimate);
  let above = Infinity;
  return sorted.map((r, i) => {
    // Enough room is left for the names below.
    const height = Math.max(Math.min(r.estimate, above - gap), gap * (sorted.length - 1 - i));
    above = height;
    return { ...r, height };
  });
};

// Thinking Sparks, Figure 4: scores over the checkpoints of one training.
FIGURES.scores = (results, pick) => {
  const training = trainingOf(results, pick);
  if (!training) return { missing: `no scores of ${pick.training ?? "a training"}` };
  const all = [results.base, ...training.checkpoints];
  const rows = all.flatMap((c) => c.accuracy.map((a) => ({ step: c.step, label: c.label, suite: a.suite, n: a.n, ...a.interval })));
  if (d3.group(rows, (r) => r.step).size < 2) return { missing: `no benchmark was run on the checkpoints of ${training.name}` };
  const suites = [...new Set(rows.map((r) => r.suite))];
  const colour = (env, suite) => env.colour(SERIES[suites.indexOf(suite) % SERIES.length]);
  const last = suites.map((s) => rows.filter((r) => r.suite === s).at(-1));
  const names = apart(last);
  const picked = pick.at === undefined ? [] : [all[placeOf(training.checkpoints, pick) + 1]];
  return {
    title: `${training.name}: accuracy over checkpoints`,
    caption: `Dot: accuracy, the share of right samples, mean over problems, at each checkpoint, step 0 being the base; band: its 95 % interval over problems${picked.length ? "; grey bar: the checkpoint that is picked" : ""}. ${last.map((r) => `${r.suite}: n = ${r.n}${samplesOf(results, r.suite)}`).join("; ")}. Look for bands that leave the heights of their first end, at step 0.`,
    label: last.map((r) => `${r.suite}: ${between(r, percent)} at step ${r.step}`).join("; "),
    columns: ["benchmark", "checkpoint", "step", "accuracy", "low", "high", "problems"],
    rows: rows.map((r) => [r.suite, r.label, r.step, r.estimate, r.low, r.high, r.n]),
    draw: (env) => {
      const text = (r) => `${r.suite}, step ${r.step}: ${between(r, percent)}`;
      return plot(env, {
        height: 250,
        marginRight: 24 + 6.4 * d3.max(suites, (s) => short(s).length),
        x: { label: "optimiser steps", ticks: 6 },
        y: { domain: [0, 1], tickFormat: (v) => Math.round(100 * v), label: "accuracy, %", grid: true, ticks: 5 },
        marks: [
          Plot.ruleX(picked, { x: "step", stroke: env.colour("rule"), strokeWidth: 8 }),
          Plot.areaY(rows, { x: "step", y1: "low", y2: "high", z: "suite", fill: (r) => colour(env, r.suite), fillOpacity: 0.13 }),
          Plot.lineY(rows, { x: "step", y: "estimate", z: "suite", stroke: (r) => colour(env, r.suite), strokeWidth: 1.75 }),
          Plot.dot(rows, { x: "step", y: "estimate", r: 3.5, fill: (r) => colour(env, r.suite), ariaLabel: text }),
          Plot.text(names, { x: "step", y: "height", dx: 8, textAnchor: "start", text: (r) => short(r.suite), fill: (r) => colour(env, r.suite) }),
          ...tips(env, rows, { x: "step", y: "estimate", title: text }),
        ],
      });
    },
  };
};

// How large the circuits are against the accuracy of the checkpoints; the base, which all trainings share, once.
FIGURES.complexity = (results, pick) => {
  const [suite, rule] = [pick.suite ?? results.heads[0]?.suite, pick.rule ?? results.heads[0]?.rule];
  const rows = results.heads
    .filter((s) => s.suite === suite && s.rule === rule)
    .flatMap((s, i) =>
      members(s).slice(i ? 1 : 0).flatMap((m) => {
        const at = [results.base, ...(trainingOf(results, { training: s.training })?.checkpoints ?? [])];
        const found = at.find((c) => c.label === m.label)?.accuracy.find((a) => !pick.benchmark || a.suite === pick.benchmark);
        if (!found) return [];
        const heads = m.circuit.heads.length;
        // Every node that is left after pruning has edges into it, but the embeddings.
        const inputs = (m.circuit.n_edges ?? m.circuit.edges.length) / Math.max(1, m.circuit.n_nodes - 1);
        return [{ training: m.label === "base" ? "" : s.training, label: m.label, heads, inputs, suite: found.suite, n: found.n, ...found.interval }];
      })
    );
  if (new Set(rows.map((r) => r.label)).size < 3) return { missing: "fewer than three checkpoints have both a circuit and a benchmark" };
  const trainings = [...new Set(rows.map((r) => r.training))].filter((t) => t);
  const colour = (env, r) => env.colour(r.label === "base" ? "muted" : SERIES[trainings.indexOf(r.training) % SERIES.length]);
  const text = (r) => `${r.label}: ${count(r.heads, "head")}, ${number(r.inputs, 1)} edges into a node; accuracy ${between(r, percent)}`;
  return {
    title: `Size of the circuit on ${suite} against accuracy on ${rows[0].suite}`,
    caption: `One dot for each of ${count(rows.length, "checkpoint")}, the base (grey) among them; those of different trainings stand beside each other. Heads of its circuit (rule ${rule}) against its accuracy on ${count(d3.max(rows, (r) => r.n), "problem")}${samplesOf(results, rows[0].suite)}; bar: 95 % interval over problems; larger dot: more edges into a node, mean. Look for a colour that drifts to one side as it rises.`,
    label: rows.map(text).join("; "),
    columns: ["training", "checkpoint", "heads", "edges into a node", "accuracy", "low", "high"],
    rows: rows.map((r) => [r.training, r.label, r.heads, r.inputs, r.estimate, r.low, r.high]),
    draw: (env) => {
      const entries = trainings.map((text, i) => ({ text, colour: env.colour(SERIES[i % SERIES.length]) }));
      const room = keyRoom(entries, env.width - 60);
      // Those of each training beside those of the others, the base between them.
      const beside = trainings.map((_, i) => i + (2 * i >= trainings.length ? 1 : 0));
      const shift = (r) => 7 * ((r.training ? beside[trainings.indexOf(r.training)] : Math.ceil(trainings.length / 2)) - trainings.length / 2);
      const apart = d3.groups(rows, shift);
      return plot(env, {
        height: 270 + room,
        marginTop: 20 + room,
        inset: 10,
        x: { label: "heads in the circuit", nice: true },
        y: { domain: [0, 1], tickFormat: (v) => Math.round(100 * v), label: `accuracy on ${short(rows[0].suite, 40)}, %`, grid: true, ticks: 5 },
        r: { range: [2, 6] },
        marks: [
          ...apart.map(([dx, mine]) => Plot.ruleX(mine, { x: "heads", y1: "low", y2: "high", dx, stroke: (r) => colour(env, r) })),
          ...apart.map(([dx, mine]) => Plot.dot(mine, { x: "heads", y: "estimate", r: "inputs", dx, fill: (r) => colour(env, r), stroke: env.colour("paper"), ariaLabel: text })),
          key(entries, env.width - 60),
          ...tips(env, rows, { x: "heads", y: "estimate", title: text }),
        ],
      });
    },
  };
};
