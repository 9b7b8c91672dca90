// How alike circuits are: over a training, and between suites.

// A cell below `bound` is outlined.
const matrix = (env, labels, rows, bound = -1) =>
  plot(env, {
    height: 10 + 26 + 4.4 * d3.max(labels, (l) => Math.min(l.length, 20)) + Math.min(34, 380 / labels.length) * labels.length,
    marginLeft: 20 + 6.4 * d3.max(labels, (l) => Math.min(l.length, 20)),
    marginBottom: 26 + 4.4 * d3.max(labels, (l) => Math.min(l.length, 20)),
    padding: 0.06,
    x: { type: "band", domain: labels, label: null, tickSize: 0, tickFormat: (l) => short(l, 20), tickRotate: -35 },
    y: { type: "band", domain: labels, label: null, tickSize: 0, tickFormat: (l) => short(l, 20) },
    marks: [
      Plot.cell(rows, { x: "a", y: "b", fill: env.colour("cell"), rx: 2 }),
      Plot.cell(rows, { x: "a", y: "b", fill: env.colour("emergent"), fillOpacity: (r) => 0.85 * r.value, rx: 2, ...(env.interactive ? {} : { title: "text" }), ariaLabel: "text" }),
      Plot.cell(rows.filter((r) => r.value < bound), { x: "a", y: "b", stroke: env.colour("ink"), strokeWidth: 1.5, inset: 0.5, rx: 2 }),
      ...(labels.length <= 12 ? [Plot.text(rows, { x: "a", y: "b", text: (r) => number(r.value), fontSize: 10, fill: (r) => inkOn(env, "emergent", 0.85 * r.value) })] : []),
      ...tips(env, rows, { x: "a", y: "b", title: "text" }),
    ],
  });

const alike = (named, what) =>
  named.flatMap(([a, x]) => named.map(([b, y]) => {
    const value = jaccard(what(x), what(y));
    return { a, b, value, text: `${a} and ${b}: ${number(value)}` };
  }));

FIGURES.similarity = (results, pick) => {
  const study = studyOf(results, pick);
  if (!study) return { missing: noCircuit(pick) };
  const edges = pick.of === "edges";
  const named = members(study).map((m) => [m.label, m.circuit]);
  const rows = alike(named, edges ? (c) => c.edges.map((e) => e.edge) : (c) => c.heads);
  const noise = study.base_noise.turnover;
  const [floor, least] = [1 - noise.estimate, 1 - noise.high];
  const bound = edges || !study.base_noise.repeats ? undefined : least;
  const below = rows.filter((r) => r.a < r.b && r.value < least).length;
  return {
    title: `${study.training}: likeness of the ${edges ? "edges" : "heads"} of checkpoints' circuits, ${study.suite}`,
    caption: `One cell a pair of ${count(named.length, "circuit")}, found on ${pairsOf(results, study.suite)}; its number: ${edges ? "edges" : "heads"} in both over those in either (Jaccard's index, 0 to 1). ${bound === undefined ? "No interval is computed." : `Circuits of the base from two draws of the pairs, where no weight changes, have ${number(floor)} on average, ${number(least)} to ${number(1 - noise.low)} in 95 % of draws; circuits of a later checkpoint may vary less (the figure of turnover has their own noise floors). Outlined: below ${number(least)} (${below} of ${(named.length * (named.length - 1)) / 2} pairs). Look at outlined cells: ${below ? "only these are less alike than the choice of pairs makes those of the base" : "there is none, so no two circuits are less alike than the choice of pairs makes those of the base"}.`}`,
    label: `base and ${named.at(-1)[0]}: ${number(rows.find((r) => r.a === "base" && r.b === named.at(-1)[0]).value)}`,
    columns: ["checkpoint", "checkpoint", "likeness"],
    rows: rows.map((r) => [r.a, r.b, r.value]),
    draw: (env) => matrix(env, named.map((n) => n[0]), rows, bound),
  };
};

FIGURES.overlap = (results, pick) => {
  const of = results.heads.filter((s) => s.rule === (pick.rule ?? results.heads[0].rule) && (!pick.training || s.training === pick.training));
  const suites = [...new Set(of.map((s) => s.suite))];
  if (suites.length < 2) return { missing: "circuits were found on one suite only; the overlap between suites takes two" };
  const circuit = (s) => members(s)[placeOf(s.checkpoints, pick) + 1];
  const named = of.map((s) => [s.suite, circuit(s).circuit]);
  const rows = alike(named, (c) => c.heads);
  const label = circuit(of[0]).label;
  return {
    title: `${pick.training}: overlap of the heads of ${label} between suites`,
    caption: `One cell a pair of suites (n = ${suites.length}); its number: heads of ${label} in both circuits over those in either (Jaccard's index, 0 to 1); no interval is computed. A circuit is of one task. Look off the diagonal: little overlap means that the heads found belong to the suite, not to the model.`,
    label: rows.filter((r) => r.a < r.b).map((r) => r.text).join("; "),
    columns: ["suite", "suite", "likeness"],
    rows: rows.map((r) => [r.a, r.b, r.value]),
    draw: (env) => matrix(env, suites, rows),
  };
};
