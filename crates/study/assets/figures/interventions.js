// Heads zeroed, replaced or scaled while a checkpoint answers, and thinking on and off.

const SETS = { emergent: "emergent", new: "new", kept: "kept", lost: "lost", joint: "new and lost", control: "control-task", "off-only": "think-off" };
const actionWords = (action) =>
  ({ zero: "zeroed", mean: "set to their mean", resample: "resampled" })[action.kind] ?? `× ${action.factor}`;
const interventionWords = (row) =>
  `${row.checkpoint}: ${count(row.heads.length, `${SETS[row.set] ?? row.set} head`)} of ${row.training} ${actionWords(row.action)}`;

FIGURES.interventions = (results, pick) => {
  const rows = results.interventions
    .filter((i) => (!pick.training || i.training === pick.training) && (!pick.benchmark || i.suite === pick.benchmark))
    .filter((i) => !pick.head || i.heads.includes(pick.head));
  if (!rows.length) return { missing: "no intervention on these heads was run" };
  // Drawn are those with random heads beside them, where there are any.
  const tested = rows.filter((r) => r.random.length);
  const drawn = tested.length ? tested : rows;
  const problems = [...new Set(d3.extent(drawn, (r) => r.n))].join(" to ");
  const named = drawn.map((row, i) => ({ i, words: interventionWords(row), row }));
  const text = ({ row }) =>
    `${interventionWords(row)} (${names(row.heads)}), ${row.suite}: ${between(row.accuracy, percent)}; as they are ${between(row.untouched, percent)}` +
    (row.difference ? `; change ${between(row.difference, points)} points` : "") +
    (row.p_value === undefined || row.p_value === null ? "" : `; against random ${pValue(row.p_value)}`);
  return {
    title: pick.head ? `Interventions that change ${pick.head}` : `Heads of ${pick.training ?? "every training"} changed, against random heads`,
    caption:
      `Problems solved, %. Blue dot: the heads named are changed; ring: all heads as they are; bars: 95 % intervals over ${problems} problems. Ticks below: as many random heads of the same layers, one tick a draw (${d3.min(drawn, (r) => r.random.length)} draws where fewest). Look for blue dots left of all their ticks: only there is a loss these heads' own.` +
      (drawn.length < rows.length ? ` ${rows.length - drawn.length} more, without random heads beside them, are in the numbers.` : ""),
    label: named.map(text).join("; "),
    columns: ["intervention", "heads", "benchmark", "problems", "solved", "low", "high", "as they are", "change", "change low", "change high", "random, mean", "random, least", "random, most", "draws", "p against random"],
    rows: rows.map((r) => {
      const random = r.random.map((d) => d.accuracy.estimate);
      const change = r.difference ?? { estimate: r.accuracy.estimate - r.untouched.estimate };
      return [interventionWords(r), names(r.heads), r.suite, r.n, r.accuracy.estimate, r.accuracy.low, r.accuracy.high, r.untouched.estimate,
        change.estimate, change.low ?? "", change.high ?? "", d3.mean(random) ?? "", d3.min(random) ?? "", d3.max(random) ?? "", random.length, r.p_value ?? ""];
    }),
    pieces: piecesOf(named),
    draw: (env, piece) => {
      const shown = pieceOf(named, piece);
      const draws = shown.flatMap(({ i, row }) => row.random.map((draw) => ({ i, draw })));
      const y = (shift) => (d) => d.i - shown[0].i + shift;
      return plot(env, {
        width: env.wide,
        height: 60 + 50 * shown.length,
        marginLeft: 8,
        x: { domain: [0, 1], tickFormat: (v) => Math.round(100 * v), label: "problems solved, %", grid: true, ticks: 10 },
        y: { domain: [shown.length - 0.35, -0.6], axis: null },
        marks: [
          Plot.text(shown, { x: 0, y: y(-0.38), text: (d) => short(`${d.words} · ${d.row.suite}`, Math.floor(env.wide / 6.4)), textAnchor: "start", fill: env.colour("ink"), stroke: env.colour("paper"), strokeWidth: 4 }),
          Plot.link(shown, { x1: (d) => d.row.untouched.low, x2: (d) => d.row.untouched.high, y: y(-0.05), stroke: env.colour("muted") }),
          Plot.dot(shown, { x: (d) => d.row.untouched.estimate, y: y(-0.05), r: 5, fill: env.colour("paper"), stroke: env.colour("muted") }),
          Plot.link(shown, { x1: (d) => d.row.accuracy.low, x2: (d) => d.row.accuracy.high, y: y(0.08), stroke: env.colour("emergent"), strokeWidth: 2 }),
          Plot.dot(shown, { x: (d) => d.row.accuracy.estimate, y: y(0.08), r: 5.5, fill: env.colour("emergent"), ariaLabel: text, title: env.interactive ? undefined : text }),
          Plot.link(draws, { x: (d) => d.draw.accuracy.estimate, y1: y(0.2), y2: y(0.34), stroke: env.colour("ink"), strokeOpacity: 0.6 }),
          ...tips(env, shown, { x: (d) => d.row.accuracy.estimate, y: y(0.08), title: text }),
        ],
      });
    },
  };
};

// Thinking Sparks, Figure 5: pass@k and success@k without thinking, as it is and with heads changed.
FIGURES.think = (results, pick) => {
  const study = results.think.find((t) => !pick.checkpoint || t.checkpoint === pick.checkpoint);
  if (!study) return { missing: "the stage think (thinking on and off) has not run in this study" };
  const name = (c) => `think ${c.mode}${c.action ? `, heads ${actionWords(c.action)}` : ""}`;
  const rows = study.conditions
    .filter((c) => c.benchmark === study.benchmark)
    .flatMap((c) => ["pass_at_k", "success_at_k"].flatMap((measure) =>
      c.measures[measure].map(({ k, value }) => ({ condition: name(c), measure: measure.replace("_at_", "@"), k, ...value }))));
  const problems = study.conditions.find((c) => c.benchmark === study.benchmark)?.measures.problems;
  const conditions = [...new Set(rows.map((r) => r.condition))];
  const colour = (env, r) => env.colour(SERIES[conditions.indexOf(r.condition) % SERIES.length]);
  const text = (r) => `${r.condition}, ${r.measure}, k = ${r.k}: ${between(r, percent)}`;
  return {
    title: `${study.checkpoint} on ${study.benchmark}: thinking on and off`,
    caption: `Share of problems solved by k samples${problems ? ` (n = ${problems})` : ""}, %: pass@k is the unbiased estimate, success@k takes the first k in order; band: 95 % interval over problems. Changed are heads of the circuit without thinking only: ${names(study.off_only)}. Look at whether the lines without thinking, heads changed, leave the band of that without thinking as it is.`,
    label: rows.map(text).join("; "),
    columns: ["condition", "measure", "k", "value", "low", "high"],
    rows: rows.map((r) => [r.condition, r.measure, r.k, r.estimate, r.low, r.high]),
    draw: (env) => {
      const entries = conditions.map((text, i) => ({ text, fx: "success@k", colour: env.colour(SERIES[i % SERIES.length]) }));
      const room = keyRoom(entries, env.wide - 60);
      return plot(env, {
        width: env.wide,
        height: 290 + room,
        marginTop: 36 + room,
        fx: { label: null, domain: ["pass@k", "success@k"] },
        x: { type: "log", base: 2, label: "k, samples", tickFormat: "d", ticks: [...new Set(rows.map((r) => r.k))] },
        y: { domain: [0, 1], tickFormat: (v) => Math.round(100 * v), label: "solved, %", grid: true, ticks: 5 },
        marks: [
          Plot.areaY(rows, { fx: "measure", x: "k", y1: "low", y2: "high", z: "condition", fill: (r) => colour(env, r), fillOpacity: 0.12 }),
          Plot.lineY(rows, { fx: "measure", x: "k", y: "estimate", z: "condition", stroke: (r) => colour(env, r), strokeWidth: 1.75 }),
          Plot.dot(rows, { fx: "measure", x: "k", y: "estimate", r: 3.5, fill: (r) => colour(env, r), ariaLabel: text }),
          key(entries, env.wide - 60, 32),
          ...tips(env, rows, { fx: "measure", x: "k", y: "estimate", title: text }),
        ],
      });
    },
  };
};

// Heads' activations of one checkpoint put into another.
FIGURES.transfers = (results, pick) => {
  const rows = (results.transfers ?? []).filter((t) => !pick.head || t.heads.includes(pick.head));
  if (!rows.length) return { missing: "no activations of these heads were put into another checkpoint" };
  const words = (t) => `${count(t.heads.length, `${SETS[t.set] ?? t.set} head`)} of ${t.from} put into ${t.into}, ${t.suite}`;
  const named = rows.map((row, i) => ({ i, row }));
  const metrics = [...new Set(rows.map((r) => r.metric))].join(", ");
  const suites = [...new Set(rows.map((r) => r.suite))];
  // All pieces have one scale.
  const reach = d3.extent(rows.flatMap((t) => [0, t.source - t.before, t.change.low, t.change.high, ...t.random.map((r) => r.change)]));
  const text = ({ row }) =>
    `${words(row)} (${names(row.heads)}): ${row.metric} ${number(row.before)} → ${number(row.after)}, change ${between(row.change, number)}` +
    (row.share === undefined || row.share === null ? "" : `, ${percent(row.share)} of the difference between the checkpoints`) +
    (row.p_value === undefined || row.p_value === null ? "" : `; against random ${pValue(row.p_value)}`);
  return {
    title: pick.head ? `Activations of ${pick.head} put into another checkpoint` : "Activations of heads put into another checkpoint",
    caption: `Blue dot: change of the mean metric (${metrics}) when the heads' mixed values come from the other checkpoint, on the same prompts; bar: its 95 % interval over ${suites.map((s) => `${pairsOf(results, s)} (${s})`).join(", ")}. Ring: the whole difference between the two checkpoints. Ticks below: as many random heads of the same layers, one tick a draw (${d3.min(rows, (t) => t.random.length)} draws where fewest). Look for blue dots beyond all their ticks, on the side of the ring.`,
    label: named.map(text).join("; "),
    columns: ["heads", "from", "into", "suite", "metric", "before", "after", "source", "change", "low", "high", "share of the difference", "random, mean", "draws", "p against random"],
    rows: rows.map((t) => [names(t.heads), t.from, t.into, t.suite, t.metric, t.before, t.after, t.source, t.change.estimate, t.change.low, t.change.high, t.share ?? "", d3.mean(t.random, (r) => r.change) ?? "", t.random.length, t.p_value ?? ""]),
    pieces: piecesOf(named),
    draw: (env, piece) => {
      const shown = pieceOf(named, piece);
      const draws = shown.flatMap(({ i, row }) => row.random.map((draw) => ({ i, change: draw.change })));
      const y = (shift) => (d) => d.i - shown[0].i + shift;
      return plot(env, {
        width: env.wide,
        height: 60 + 50 * shown.length,
        marginLeft: 8,
        x: { domain: reach, label: `change of the metric (${metrics})`, grid: true, nice: true, ticks: 8 },
        y: { domain: [shown.length - 0.35, -0.6], axis: null },
        marks: [
          Plot.ruleX([0], { stroke: env.colour("muted") }),
          Plot.text(shown, { frameAnchor: "left", y: y(-0.38), text: (d) => short(words(d.row), Math.floor(env.wide / 6.4)), textAnchor: "start", fill: env.colour("ink"), stroke: env.colour("paper"), strokeWidth: 4 }),
          Plot.dot(shown, { x: (d) => d.row.source - d.row.before, y: y(0), r: 5, fill: env.colour("paper"), stroke: env.colour("muted") }),
          Plot.link(shown, { x1: (d) => d.row.change.low, x2: (d) => d.row.change.high, y: y(0.06), stroke: env.colour("emergent"), strokeWidth: 2 }),
          Plot.dot(shown, { x: (d) => d.row.change.estimate, y: y(0.06), r: 5.5, fill: env.colour("emergent"), ariaLabel: text, title: env.interactive ? undefined : text }),
          Plot.link(draws, { x: "change", y1: y(0.18), y2: y(0.32), stroke: env.colour("ink"), strokeOpacity: 0.6 }),
          ...tips(env, shown, { x: (d) => d.row.change.estimate, y: y(0.06), title: text }),
        ],
      });
    },
  };
};
