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
  const all = d3.max(drawn, (r) => (results.benchmarks ?? []).find((b) => b.name === r.suite)?.n ?? r.n);
  const first = all > d3.max(drawn, (r) => r.n) ? `the first ${problems} of ${all}` : problems;
  const task = (results.settings ?? []).find((s) => s.section === "interventions" && s.name === "control")?.value;
  const controls = rows.some((r) => r.set === "control") ? ` Control-task heads: those of the circuit of ${task ?? "the control task"}, whichever other sets they are in.` : "";
  const each = d3.extent(drawn, (r) => r.samples ?? 1);
  const samples = each[1] > 1 ? `, ${[...new Set(each)].join(" to ")} samples each` : "";
  const named = drawn.map((row, i) => ({ i, words: interventionWords(row), row }));
  const text = ({ row }) =>
    `${interventionWords(row)} (${names(row.heads)}), ${row.suite}: ${between(row.accuracy, percent)}; as they are ${between(row.untouched, percent)}` +
    (row.difference ? `; change ${between(row.difference, points)} points` : "") +
    (row.p_value === undefined || row.p_value === null ? "" : `; against random ${pValue(row.p_value)}`);
  return {
    title: pick.head ? `Interventions that change ${pick.head}` : `Heads of ${pick.training ?? "every training"} changed, against random heads`,
    caption:
      `Accuracy, the share of right samples, mean over problems, %. Blue dot: the heads named are changed; ring: all heads as they are; bars: 95 % intervals over ${first} problems${samples}. Ticks below: as many random heads of the same layers, one tick a draw (at least ${count(d3.min(drawn, (r) => r.random.length), "draw")}). Look for blue dots left of all their ticks: only there is a loss these heads' own.${controls}` +
      (drawn.length < rows.length ? ` ${rows.length - drawn.length} more, without random heads beside them, are in the numbers.` : ""),
    label: named.map(text).join("; "),
    columns: ["intervention", "heads", "benchmark", "problems", "accuracy", "low", "high", "accuracy as they are", "change", "change low", "change high", "random, mean", "random, least", "random, most", "draws", "p against random"],
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
        x: { domain: [0, 1], tickFormat: (v) => Math.round(100 * v), label: "accuracy, %", grid: true, ticks: 10 },
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
  const changed = study.conditions.some((c) => c.action)
    ? `Changed are heads of the circuit without thinking only: ${names(study.off_only)}. Look at whether the lines “think off, heads …” leave the band of the line “think off”.`
    : study.off_only.length
      ? "No heads were changed. Look at whether the bands are apart."
      : "No head is in the circuit without thinking only, so none was changed and there are two lines. Look at whether their bands are apart.";
  return {
    title: `${study.checkpoint} on ${study.benchmark}: thinking on and off`,
    caption: `Probability that at least one of k samples of a problem is right, mean over problems${problems ? ` (n = ${problems})` : ""}, %: pass@k is the unbiased estimate from all samples, success@k takes the first k in order; band: 95 % interval over problems. ${study.conditions.filter((c) => c.benchmark === study.benchmark && !c.action).map((c) => `Think ${c.mode}: ${percent(c.measures.pass_at_1.estimate)} of samples are right${c.mode === "off" && c.thinks > 0 ? `, ${percent(c.thinks)} think all the same` : ""}`).join("; ")}. ${changed}`,
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
        y: { domain: [0, 1], tickFormat: (v) => Math.round(100 * v), label: "probability, %", grid: true, ticks: 5 },
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

// Heads' activations of one checkpoint put into another. Rows of the same two checkpoints and pairs are a group with a
// scale of its own: differences between checkpoints are of very different sizes.
const TRANSFER = { head: 30, row: 46, axis: 44 };
FIGURES.transfers = (results, pick) => {
  const rows = (results.transfers ?? []).filter((t) => !pick.head || t.heads.includes(pick.head));
  if (!rows.length) return { missing: "no activations of these heads were put into another checkpoint" };
  const two = signed(number);
  const unit = (t) => metricWords(t.metric)[1];
  const groups = [...d3.group(rows, (t) => [t.from, t.into, t.suite].join("\n")).values()].map((rows) => {
    const [first] = rows;
    const whole = first.source - first.before;
    const reach = d3.extent(rows.flatMap((t) => [0, whole, t.change.low, t.change.high, ...t.random.map((r) => r.change)]));
    return { rows, whole, reach, words: (wide) => `${first.from} into ${first.into}, ${first.suite}: ${wide ? "they differ by " : ""}${two(whole)} ${unit(first)}` };
  });
  const p = (t) => (t.p_value === undefined || t.p_value === null ? "too few random sets for a test" : `more than random heads, one-sided ${pValue(t.p_value)}`);
  const share = (t) => (t.share === undefined || t.share === null ? "" : `, ${percent(t.share)} of the difference`);
  const words = (t) => `${count(t.heads.length, `${SETS[t.set] ?? t.set} head`)}: ${between(t.change, two)} ${unit(t)}${share(t)}; ${p(t)}`;
  const fewer = (t) => `${count(t.heads.length, `${SETS[t.set] ?? t.set} head`)}: ${two(t.change.estimate)}${share(t).replace(" of the difference", "")}; ${t.p_value === undefined || t.p_value === null ? "no test" : pValue(t.p_value)}`;
  const text = (t) => `${t.from} into ${t.into}, ${t.suite}, ${words(t)} (${names(t.heads)}); ${t.metric} ${number(t.before)} → ${number(t.after)}`;
  const suites = [...new Set(rows.map((r) => r.suite))];
  const metrics = [...new Set(rows.map((r) => r.metric))].map((m) => `${metricWords(m)[0]}, ${metricWords(m)[1] || "in its unit"}`).join("; ");
  // As many groups a piece as have the height of a printed page.
  const tall = (g) => TRANSFER.head + TRANSFER.row * g.rows.length + TRANSFER.axis;
  const pieces = [];
  for (const g of groups) {
    if (!pieces.length || d3.sum(pieces.at(-1), tall) + tall(g) > 760) pieces.push([]);
    pieces.at(-1).push(g);
  }
  return {
    title: pick.head ? `Activations of ${pick.head} put into another checkpoint` : "Activations of heads put into another checkpoint",
    caption: `Blue dot: change of the mean metric (${metrics}) of the second checkpoint when the heads' mixed values come from the first, on the same clean prompts; bar: its 95 % interval over ${suites.map((s) => `${pairsOf(results, s)} (${s})`).join(", ")}. Ring: the whole difference between the two checkpoints. Ticks below: as many random heads of the same layers, one tick a draw (at least ${count(d3.min(rows, (t) => t.random.length), "draw")}). Each pair of checkpoints and suite has an axis of its own: compare distances from 0 within one, and percentages of the difference between them. Look for blue dots beyond all their ticks, on the side of the ring.`,
    label: rows.map(text).join("; "),
    columns: ["heads", "set", "from", "into", "suite", "metric", "before", "after", "source", "change", "low", "high", "share of the difference", "random, mean", "random, least", "random, most", "draws", "one-sided p"],
    rows: rows.map((t) => {
      const random = t.random.map((r) => r.change);
      return [names(t.heads), SETS[t.set] ?? t.set, t.from, t.into, t.suite, t.metric, t.before, t.after, t.source, t.change.estimate, t.change.low, t.change.high, t.share ?? "", d3.mean(random) ?? "", d3.min(random) ?? "", d3.max(random) ?? "", random.length, t.p_value ?? ""];
    }),
    pieces: pieces.length,
    draw: (env, piece) => drawTransfers(env, piece === undefined ? groups : pieces[piece], { tall, words: env.wide < 600 ? fewer : words, text }),
  };
};

const drawTransfers = (env, groups, { tall, words, text }) => {
  const [left, right] = [22, env.wide - 22];
  const fits = Math.floor((env.wide - 10) / 6.4);
  const drawn = { heads: [], axes: [], grid: [], zero: [], rows: [], draws: [] };
  let top = 4;
  for (const group of groups) {
    const scale = d3.scaleLinear(group.reach[0] === group.reach[1] ? [-1, 1] : group.reach, [left, right]).nice();
    drawn.heads.push({ y: top + 14, text: group.words(env.wide >= 600) });
    group.rows.forEach((t, i) => {
      const y = top + TRANSFER.head + TRANSFER.row * i;
      drawn.rows.push({ t, y, at: scale(t.change.estimate), low: scale(t.change.low), high: scale(t.change.high), whole: scale(group.whole) });
      drawn.draws.push(...t.random.map((r) => ({ x: scale(r.change), y: y + 27 })));
    });
    const foot = top + TRANSFER.head + TRANSFER.row * group.rows.length + 2;
    const most = env.wide < 600 ? 4 : 8;
    const write = scale.tickFormat(most);
    for (const v of scale.ticks(most)) {
      drawn.axes.push({ x: scale(v), y: foot, text: write(v) });
      drawn.grid.push({ x: scale(v), y1: top + TRANSFER.head - 4, y2: foot });
    }
    drawn.zero.push({ x: scale(0), y1: top + TRANSFER.head - 4, y2: foot });
    top += tall(group);
  }
  const halo = { stroke: env.colour("paper"), strokeWidth: 4 };
  return plot(env, {
    width: env.wide, height: top, marginLeft: 0, marginRight: 0, marginTop: 0, marginBottom: 0,
    x: { type: "identity", axis: null },
    y: { type: "identity", axis: null },
    marks: [
      Plot.ruleX(drawn.grid, { x: "x", y1: "y1", y2: "y2", stroke: env.colour("rule") }),
      Plot.ruleX(drawn.zero, { x: "x", y1: "y1", y2: "y2", stroke: env.colour("muted") }),
      Plot.text(drawn.axes, { x: "x", y: (d) => d.y + 9, text: "text", fill: env.colour("muted") }),
      Plot.text(drawn.heads, { x: 0, y: "y", text: (d) => short(d.text, Math.floor(0.86 * fits)), textAnchor: "start", fontWeight: 600, fill: env.colour("ink") }),
      Plot.text(drawn.rows, { x: 0, y: (d) => d.y + 4, text: (d) => short(words(d.t), fits), textAnchor: "start", fill: env.colour("ink"), ...halo }),
      Plot.dot(drawn.rows, { x: "whole", y: (d) => d.y + 19, r: 5, fill: env.colour("paper"), stroke: env.colour("muted") }),
      Plot.link(drawn.rows, { x1: "low", x2: "high", y: (d) => d.y + 19, stroke: env.colour("emergent"), strokeWidth: 2 }),
      Plot.dot(drawn.rows, { x: "at", y: (d) => d.y + 19, r: 5, fill: env.colour("emergent"), ariaLabel: (d) => text(d.t), title: env.interactive ? undefined : (d) => text(d.t) }),
      Plot.link(drawn.draws, { x: "x", y1: "y", y2: (d) => d.y + 7, stroke: env.colour("ink"), strokeOpacity: 0.6 }),
      ...tips(env, drawn.rows, { x: "at", y: (d) => d.y + 19, title: (d) => text(d.t) }),
    ],
  });
};
