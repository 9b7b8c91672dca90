// The paper's tables from a study, as figures.

// A table as a drawing: text in columns.
const drawTable = (env, columns, rows) => {
  const all = [columns, ...rows.map((r) => r.map(String))];
  const widths = columns.map((_, c) => 18 + 6.5 * d3.max(all, (r) => r[c].length));
  const left = [0, ...d3.cumsum(widths)];
  const cells = all.flatMap((r, y) => r.map((text, c) => ({ text, y, x: left[c], head: y === 0 })));
  const width = Math.max(env.width, left.at(-1));
  return plot(env, {
    width, height: 14 + 22 * all.length, marginLeft: 0, marginRight: 0, marginTop: 4, marginBottom: 4,
    x: { axis: null, domain: [0, width] },
    y: { axis: null, domain: [all.length - 0.5, -0.5] },
    marks: [
      Plot.ruleY(d3.range(all.length - 1), { y: (i) => i + 0.5, stroke: env.colour("rule"), strokeWidth: (i) => (i ? 0.75 : 1.5) }),
      Plot.text(cells, { x: "x", y: "y", text: "text", textAnchor: "start", fill: (c) => env.colour(c.head ? "muted" : "ink") }),
    ],
  });
};
const table = (title, caption, columns, rows) => ({
  title, caption, columns, rows,
  label: `a table of ${rows.length} rows`,
  draw: (env) => drawTable(env, columns, rows),
});
const cell = (i) => (i ? `${percent(i.estimate)} [${percent(i.low)}, ${percent(i.high)}]` : "–");

// Rows: what was done to which heads; columns: benchmarks. `rows` are interventions of one checkpoint.
const byBenchmark = (results, checkpoint, rows, title) => {
  const benchmarks = [...new Set(rows.map((r) => r.suite))];
  const groups = d3.group(rows, (r) => `${SETS[r.set] ?? r.set} heads of ${r.training} ${actionWords(r.action)} (${r.heads.length})`);
  const untouched = benchmarks.map((b) => cell(rows.find((r) => r.suite === b).untouched));
  const draws = d3.min(rows, (r) => r.random.length);
  const marked = (r) => cell(r?.accuracy) + (r?.p_value !== undefined && r?.p_value !== null && r.p_value < 0.05 ? " *" : "");
  return table(
    title,
    `Accuracy of ${checkpoint}, the share of right samples, mean over problems, with its 95 % interval. In parentheses: the number of heads. * p < 0.05 against as many random heads of the same layers, before correction for the number of tests (${draws ? `at least ${count(draws, "draw")}` : "some have none beside them"}).`,
    ["heads", ...benchmarks],
    [["as they are", ...untouched], ...[...groups].map(([name, of]) => [name, ...benchmarks.map((b) => marked(of.find((r) => r.suite === b)))])]
  );
};
const zeroed = (r) => ["zero", "mean", "resample"].includes(r.action.kind);
const none = { missing: "the stage interventions has not run, or not on this checkpoint" };

// Table 1: heads of post-trained checkpoints ablated in them.
FIGURES.table1 = (results, pick) => {
  const rows = results.interventions.filter((r) => r.checkpoint !== "base" && (!pick.training || r.training === pick.training) && zeroed(r));
  if (!rows.length) return none;
  const mine = rows.filter((r) => r.checkpoint === rows.at(-1).checkpoint);
  return byBenchmark(results, mine[0].checkpoint, mine, `Heads ablated in ${mine[0].checkpoint}`);
};
// Table 4: the same heads ablated in the base.
FIGURES.table4 = (results, pick) => {
  const rows = results.interventions.filter((r) => r.checkpoint === "base" && (!pick.training || r.training === pick.training) && zeroed(r));
  return rows.length ? byBenchmark(results, "the base", rows, "Heads ablated in the base") : none;
};
// Table 5: heads of post-trained checkpoints ablated and scaled in the base.
FIGURES.table5 = (results) => {
  const rows = results.interventions.filter((r) => r.checkpoint === "base");
  return rows.length ? byBenchmark(results, "the base", rows, "Heads of post-trained checkpoints changed in the base") : none;
};
// Table 2: thinking on and off, heads of the mode without thinking changed.
FIGURES.table2 = (results, pick) => {
  const study = results.think.find((t) => !pick.checkpoint || t.checkpoint === pick.checkpoint);
  if (!study) return { missing: "the stage think (thinking on and off) has not run in this study" };
  const benchmarks = [...new Set(study.conditions.map((c) => c.benchmark))];
  const groups = d3.group(study.conditions, (c) => `think ${c.mode}${c.action ? `, ${count(c.heads.length, "head")} ${actionWords(c.action)}` : ""}`);
  return table(
    `${study.checkpoint} with thinking on and off`,
    `Accuracy (pass@1) with 95 % intervals over problems. Changed are heads of the circuit without thinking only: ${names(study.off_only)}.`,
    ["condition", ...benchmarks],
    [...groups].map(([name, of]) => [name, ...benchmarks.map((b) => cell(of.find((c) => c.benchmark === b)?.measures.pass_at_1))])
  );
};
// Table 3: heads of each circuit, new ones after post-training.
FIGURES.table3 = (results, pick) => {
  const of = results.heads.filter((s) => (!pick.suite || s.suite === pick.suite) && s.rule === (pick.rule ?? results.heads[0].rule));
  if (!of.length) return { missing: "no circuit was found" };
  const short = (heads) => names(heads.slice(0, 8)) + (heads.length > 8 ? ", …" : "");
  const suites = [...new Set(of.map((s) => s.suite))];
  const rows = suites.flatMap((suite) => {
    const mine = of.filter((s) => s.suite === suite);
    const base = mine[0].base.heads;
    const row = (s) => {
      const c = s.changes.at(-1);
      return [suite, `${s.checkpoints.at(-1).label}, new`, c.gained.length, c.emergent ? c.emergent.length : "not tested", c.kept.length, short(c.gained)];
    };
    return [[suite, "base, all", base.length, "–", base.length, short(base)], ...mine.filter((s) => s.changes.length).map(row)];
  });
  return table(
    "Heads in the circuits",
    `Rule ${of[0].rule}. New: in the checkpoint's circuit and not in the base's; emergent: new, and the change found at a false-discovery rate of ${results.false_discovery_rate ? rate(results.false_discovery_rate) : "–"}. Kept: heads of the base's circuit that stay. results.json has every list.`,
    ["suite", "circuit", "heads", "emergent", "kept", "first heads"],
    rows
  );
};
