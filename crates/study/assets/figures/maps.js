// Maps of heads, layers upwards: how often in a circuit, effect, what a checkpoint's circuit has, which method.

// A map of one cell a head. A cell is { head, fill, opacity, outline, dot, inside, text }.
const headMap = (env, model, cells, options = {}) => {
  const [layers, heads] = [model.n_layers, model.n_heads];
  const width = Math.max(env.width, Math.min(WIDE, 44 + 26 * heads));
  const side = Math.max(9, Math.min(34, (width - 50) / heads));
  const every = (n) => d3.range(n).filter((i) => i % Math.ceil(n / 16) === 0);
  const data = cells.map((c) => ({ ...c, l: place(c.head)[0], h: place(c.head)[1] }));
  const xy = { x: "h", y: "l" };
  const ink = (c) => inkOn(env, c.fill, c.opacity);
  const size = (width - 50) / heads;
  const room = options.key?.length ? keyRoom(options.key, width - 60) : 0;
  return plot(env, {
    width,
    height: 46 + side * layers + room,
    marginLeft: 36,
    marginTop: 6 + room,
    marginBottom: 40,
    padding: side > 14 ? 0.08 : 0.04,
    x: { type: "band", domain: d3.range(heads), ticks: every(heads), tickFormat: (h) => `H${h}`, tickSize: 0, label: "head (layers upwards)", labelAnchor: "center", labelArrow: "none" },
    y: { type: "band", domain: d3.range(layers).reverse(), ticks: every(layers), tickFormat: (l) => `L${l}`, tickSize: 0, label: null },
    marks: [
      Plot.cell(data, { ...xy, fill: env.colour("cell"), rx: 2 }),
      Plot.cell(data.filter((c) => c.opacity > 0), { ...xy, fill: (c) => env.colour(c.fill), fillOpacity: "opacity", rx: 2 }),
      // Two lines, so that one of them stands out from any cell.
      Plot.cell(data.filter((c) => c.outline), { ...xy, stroke: env.colour("paper"), strokeWidth: side > 14 ? 3.5 : 2, inset: 1, rx: 2 }),
      Plot.cell(data.filter((c) => c.outline), { ...xy, stroke: env.colour("ink"), strokeWidth: side > 14 ? 1.75 : 1.25, inset: 0, rx: 2 }),
      Plot.dot(data.filter((c) => c.dot), { ...xy, r: Math.min(3, side / 6), fill: ink, dx: size / 2 - Math.min(10, size / 4), dy: -side / 2 + Math.min(9, side / 3) }),
      ...(size >= 34 && side >= 20 ? [Plot.text(data.filter((c) => c.inside), { ...xy, text: "inside", fontSize: 10.5, fill: ink })] : []),
      Plot.cell(data, {
        ...xy,
        fill: "transparent",
        rx: 2,
        // In a file the text is a title; in the page the head is selected, and the tip shows the text.
        ...(env.interactive ? {} : { title: "text" }),
        render: tagged(data, (c) => (env.interactive ? { "data-head": c.head, class: "pick", role: "button", "aria-label": c.text } : {})),
      }),
      ...tips(env, data, { ...xy, title: "text" }),
      ...(room ? [key(options.key, width - 60, 14)] : []),
    ],
  });
};

// Thinking Sparks, Figures 2B, 3C: how often each head was in a circuit.
FIGURES.frequency = (results, pick) => {
  const study = studyOf(results, pick);
  if (!study) return { missing: noCircuit(pick) };
  const at = placeOf(study.checkpoints, pick);
  const now = members(study)[at + 1];
  const inside = new Set(now.circuit.heads);
  const n = study.checkpoints.length;
  const cells = allHeads(results.model).map((head) => {
    const found = study.frequency.find((f) => f.head === head);
    const test = now.tests.find((t) => t.head === head);
    const share = found?.share ?? 0;
    const kind = found?.base ? "in the base's circuit" : found ? "new" : "never in a circuit";
    return {
      head,
      fill: found?.base ? "base" : "emergent",
      opacity: found ? 0.15 + 0.65 * share : 0,
      outline: inside.has(head),
      dot: test?.fate === "emergent",
      inside: found ? `${Math.round(share * n)}/${n}` : "",
      text: `${head}: ${kind}; in ${Math.round(share * n)} of ${count(n, "checkpoint")}${inside.has(head) ? `, ${now.label} among them` : ""}${test ? `; at ${now.label} ${fateWords(test)}, ${pValue(test.p_value)}` : ""}`,
      row: [head, kind, share, inside.has(head) ? "yes" : "no", test ? fateWords(test) : ""],
    };
  });
  return {
    title: `${study.training}: heads by number of checkpoints, ${study.suite}`,
    caption: `One cell a head; its number: circuits that have it, of those of ${count(n, "checkpoint")}, found on ${pairsOf(results, study.suite)}. Red: in the base's circuit, fading as checkpoints drop it; blue: new, stronger the more have it; grey: in none. Outlined: in the circuit of ${now.label}; dot: emergent there. Look for strong blue cells with a dot: new heads that stay.`,
    label: `${names(study.frequency.filter((f) => !f.base).map((f) => f.head))} are new in some checkpoint`,
    columns: ["head", "kind", "share of checkpoints", `in the circuit of ${now.label}`, "test there"],
    rows: cells.filter((c) => c.opacity > 0).map((c) => c.row),
    draw: (env) => headMap(env, results.model, cells),
  };
};

// Thinking Sparks, Figure 13: effect E of a training on each head.
FIGURES.effect = (results, pick) => {
  const study = studyOf(results, pick);
  if (!study?.effects.length) return { missing: noCircuit(pick) };
  const at = placeOf(study.checkpoints, pick);
  // At a picked checkpoint its own tests; where there are none, and otherwise, the mean over checkpoints.
  const picked = pick.at === undefined || at < 0 ? null : study.checkpoints[at];
  const now = picked?.tests.length ? picked : null;
  const cells = allHeads(results.model).map((head) => {
    const mean = study.effects.find((e) => e.head === head);
    const test = now?.tests.find((t) => t.head === head);
    const effect = now ? test?.effect : mean && (mean.interval ?? { estimate: mean.effect });
    const value = now ? test?.effect.estimate : mean?.effect;
    if (value === undefined) return { head, opacity: 0, text: `${head}: not in these circuits`, row: [head, "", "", "", "", ""] };
    // A head of neither circuit has no share of importance; the test looks at all its edges.
    if (test?.fate === "outside") return { head, opacity: 0, dot: test.found, text: `${head}: ${fateWords(test)}`, row: [head, "", "", "", "", ""] };
    const sure = effect.low > 0 || effect.high < 0;
    const share = now ? test : mean;
    return {
      head,
      fill: value < 0 ? "base" : "emergent",
      opacity: 0.8 * Math.min(1, Math.abs(value)),
      outline: sure,
      dot: test?.found,
      inside: number(value),
      text: `${head}: E = ${number(value)}${effect.low === undefined ? "" : ` [${number(effect.low)} to ${number(effect.high)}]`}; share of importance ${percent(share.before)} before, ${percent(share.after)} after`,
      row: [head, value, effect.low ?? "", effect.high ?? "", share.before, share.after],
    };
  });
  const tested = cells.filter((c) => c.outline !== undefined);
  const last = study.checkpoints.at(-1).label;
  const two = "a dot asks whether the share of all scores that the head's edges have differs beyond an exchange of labels within pairs (the test that makes a new head emergent), an outline whether its share of the circuit's edges does beyond the draw of the pairs, so that a head may have either alone";
  const look = now
    ? `Dot: the change is found at the false-discovery rate${results.false_discovery_rate ? ` (${rate(results.false_discovery_rate)})` : ""}, over all heads together. Two tests: ${two}. Look at dots; of outlines alone one in 20 would be by chance.`
    : `Dots, the tests of the change, are those of a picked checkpoint: ${two}. Look at outlined cells; one in 20 would be by chance.`;
  return {
    title: `${study.training}: effect E on each head, ${study.suite}, ${now ? now.label : "mean over checkpoints"}`,
    caption: `One cell a head; its number: E = (after − before) / (after + before) of the head's share of all importance, −1 (all lost) to 1 (all gained), ${now ? `at ${now.label}` : `mean over ${count(study.checkpoints.length, "checkpoint")}`}; blue, gained; red, lost; grey, in neither circuit, where the test may find a change all the same. Outlined (${tested.filter((c) => c.outline).length} of the ${tested.length} in one): the 95 % interval of E${now ? "" : ` at ${last}`} over ${pairsOf(results, study.suite)} leaves out 0. ${look}`,
    label: cells.filter((c) => c.outline).map((c) => c.text).join("; ") || "no effect whose interval leaves out 0",
    columns: ["head", "effect", "low", "high", "share before", now ? "share after" : "mean share after"],
    rows: cells.filter((c) => c.row[1] !== "").map((c) => c.row),
    draw: (env) => headMap(env, results.model, cells),
  };
};

// Thinking Sparks, Figure 14: which trainings' circuits ever had a head that the base's had not.
const METHODS = ["emergent", "green", "base", "ochre"];
FIGURES.methods = (results, pick) => {
  const trainings = [...new Set(results.heads.map((s) => s.training))];
  if (!trainings.length) return { missing: "no circuit was found" };
  const of = results.heads.filter((s) => s.rule === (pick.rule ?? s.rule));
  const ever = (name) => new Set(of.filter((s) => s.training === name).flatMap((s) => s.changes.flatMap((c) => c.gained)));
  const sets = trainings.map((name) => ever(name));
  const cells = allHeads(results.model).map((head) => {
    const mine = trainings.filter((_, i) => sets[i].has(head));
    return {
      head,
      mine,
      fill: mine.length > 1 ? "violet" : METHODS[trainings.indexOf(mine[0]) % METHODS.length],
      opacity: mine.length ? 0.75 : 0,
      inside: mine.length > 1 ? "both" : "",
      text: `${head}: ${mine.length ? `new in ${mine.join(" and ")}` : "in no new part of a circuit"}`,
    };
  });
  const layers = d3.range(results.model.n_layers).map((l) => [l, ...sets.map((s) => [...s].filter((h) => place(h)[0] === l).length)]);
  const suites = [...new Set(of.map((s) => s.suite))];
  return {
    title: "New heads by training",
    caption: `One cell a head, coloured where it was in a circuit of any checkpoint and not in the base's, on any suite (${suites.join(", ")})${pick.rule ? ` by the rule ${pick.rule}` : ""}. Heads: ${trainings.map((t, i) => `${t}: ${sets[i].size}`).join("; ")}; of several: ${cells.filter((c) => c.mine.length > 1).length}. Counts of one study, without an interval. Look for layers that one training alone changes; the table counts by layer.`,
    label: cells.filter((c) => c.mine.length).map((c) => c.text).join("; ") || "no head is new",
    columns: ["layer", ...trainings],
    rows: layers,
    draw: (env) =>
      headMap(env, results.model, cells, {
        key: [...trainings.map((text, i) => [text, METHODS[i % METHODS.length]]), ["several", "violet"]].map(([text, c]) => ({ text, colour: env.colour(c) })),
      }),
  };
};

// What each head attends to, by name; tokens that relations overlap on count in each.
const ROLES = {
  first: "first token", current: "own position", previous: "previous token", "same-token": "same token earlier", induction: "induction",
  number: "numbers", operator: "operators", delimiter: "delimiters",
};
const ROLE_COLOURS = { first: "muted", current: "ink", previous: "emergent", "same-token": "violet", induction: "base", number: "green", operator: "ochre", delimiter: "teal" };
FIGURES.roles = (results, pick) => {
  const mine = results.roles.filter((r) => !pick.suite || r.suite === pick.suite);
  const study = studyOf(results, pick);
  const label = study ? members(study)[placeOf(study.checkpoints, pick) + 1].label : mine.at(-1)?.checkpoint;
  const roles = mine.find((r) => r.checkpoint === label);
  if (!roles) return { missing: "what the heads attend to was not measured" };
  const inside = new Set(study ? members(study)[placeOf(study.checkpoints, pick) + 1].circuit.heads : []);
  const cells = roles.heads.map(({ head, role, attended, scores }) => {
    const most = d3.greatest(attended, (a) => (a.relation === role ? 2 : a.share - a.equal));
    return {
      head, role,
      fill: ROLE_COLOURS[role],
      opacity: role ? 0.2 + 0.6 * most.share : 0,
      outline: inside.has(head),
      inside: role ? percent(most.share) : "",
      text: `${head}: ${role ? ROLES[role] : "no role"}; ${ROLES[most.relation]} ${percent(most.share)} (equal attention: ${percent(most.equal)}); OV copying ${number(scores.copying)}, QK matching ${number(scores.matching)}`,
      row: [head, role ? ROLES[role] : "none", inside.has(head) ? "yes" : "no", ...attended.map((a) => a.share), scores.copying, scores.matching],
    };
  });
  const named = [...new Set(cells.filter((c) => c.role).map((c) => c.role))];
  return {
    title: `${label}: roles of the heads, ${roles.suite}`,
    caption: `One cell a head, named after what gets at least 0.4 of its attention and twice what equal attention would give (of several, the one farthest above it), mean over the clean prompts of ${pairsOf(results, roles.suite)}; its number: that share. No interval is computed. Outlined: in the circuit of ${label}. Look for outlined cells with a role: what the circuit's heads read.`,
    label: cells.filter((c) => c.role).map((c) => c.text).join("; ") || "no head has a role",
    columns: ["head", "role", "in the circuit", ...roles.heads[0].attended.map((a) => ROLES[a.relation]), "OV copying", "QK matching"],
    rows: cells.map((c) => c.row),
    draw: (env) => headMap(env, results.model, cells, { key: named.map((role) => ({ text: ROLES[role], colour: env.colour(ROLE_COLOURS[role]) })) }),
  };
};
