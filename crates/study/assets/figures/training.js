// A training over its steps: reward or loss, cohorts of new heads, turnover.

FIGURES.curve = (results, pick) => {
  const training = trainingOf(results, pick);
  const field = training?.method === "grpo" ? "reward" : "loss";
  const rows = (training?.curve ?? []).filter((p) => typeof p[field] === "number");
  if (!rows.length) return { missing: `no curve of reward or loss of ${pick.training ?? "a training"}` };
  const label = field === "reward" ? "mean reward of the step's samples" : "loss, nats a token";
  const around = Math.max(1, Math.round(rows.length / 10));
  const picked = pick.at >= 0 ? [training.checkpoints[placeOf(training.checkpoints, pick)]] : [];
  return {
    title: `${training.name}: ${field} over its steps`,
    caption: `Thin line: ${label} of each of ${count(rows.length, "step")}; bold: mean over ${count(around, "step")} around it${picked.length ? "; grey bar: the checkpoint that is picked" : ""}. No interval: this is one run. Look at whether the bold line has levelled off.`,
    label: `${label} from ${number(rows[0][field], 3)} at the first step to ${number(rows.at(-1)[field], 3)} at the last`,
    columns: ["step", "loss", "reward", "length of completions", "learning rate"],
    rows: training.curve.map((p) => [p.step, p.loss ?? "", p.reward ?? "", p.length ?? "", p.lr ?? ""]),
    draw: (env) =>
      plot(env, {
        height: 190,
        x: { label: "optimiser steps", ticks: 6 },
        y: { label, grid: true, ticks: 4, zero: true, nice: true },
        marks: [
          Plot.ruleX(picked, { x: "step", stroke: env.colour("rule"), strokeWidth: 8 }),
          Plot.lineY(rows, { x: "step", y: field, stroke: env.colour("muted"), strokeWidth: 1, strokeOpacity: 0.5 }),
          Plot.lineY(rows, Plot.windowY({ k: around, anchor: "middle" }, { x: "step", y: field, stroke: env.colour("ink"), strokeWidth: 2 })),
          ...tips(env, rows, { x: "step", y: field, title: (p) => `step ${p.step}: ${number(p[field], 3)}` }),
        ],
      }),
  };
};

// Thinking Sparks, Figures 2A, 3A, 6A to 11A: new heads by the checkpoint of their first circuit.
FIGURES.cohorts = (results, pick) => {
  const study = studyOf(results, pick);
  if (!study) return { missing: noCircuit(pick) };
  const steps = study.checkpoints.map((c) => c.step);
  const layers = study.cohorts.flatMap((c) => {
    const first = steps.indexOf(c.step);
    return [0, ...steps].map((step, i) => ({ cohort: c.step, heads: c.heads, step, n: i - 1 < first ? 0 : c.alive[i - 1 - first] }));
  });
  const at = (i) => ({ step: steps[i], new: study.changes[i].gained.length, kept: study.changes[i].kept.length, emergent: study.changes[i].emergent?.length });
  const lines = [{ step: 0, new: 0, kept: study.base.heads.length, emergent: 0 }, ...steps.map((_, i) => at(i))];
  const order = (c) => study.cohorts.findIndex((x) => x.step === c) / Math.max(1, study.cohorts.length - 1);
  const text = (l) => `step ${l.step}: ${count(l.new, "new head")}${l.emergent === undefined ? "" : ` (${l.emergent} emergent)`}, ${l.kept} of the base's kept`;
  const picked = pick.at === undefined ? [] : [lines[placeOf(steps, pick) + 1]];
  const end = lines.at(-1);
  const noise = study.base_noise;
  const floor = noise.repeats ? `No interval; circuits of the base from draws of the pairs differ by ${number(noise.changed_heads.estimate, 1)} heads on average, ${number(noise.changed_heads.low, 0)} to ${number(noise.changed_heads.high, 0)} in 95 % of draws, new and lost together. ` : "No interval. ";
  return {
    title: `${study.training}: cohorts of new heads, ${study.suite}`,
    caption:
      `Numbers of heads at each of ${count(steps.length, "checkpoint")}, circuits found on ${pairsOf(results, study.suite)}. Blue line: new heads, which the base's circuit lacks; areas: the same by the checkpoint of their first circuit, later ones paler. Red, dashed: heads of the base's circuit (${study.base.heads.length}) that are kept; the rest are lost. Dotted: emergent heads. ${floor}Look at whether areas stay (heads accumulate) or end (they are tried and dropped).`,
    label: text(end),
    columns: ["step", "new", "emergent", "kept", ...study.cohorts.map((c) => `first at ${c.step}`)],
    rows: lines.map((l, i) => [l.step, l.new, l.emergent ?? "", l.kept, ...study.cohorts.map((c) => layers.find((x) => x.cohort === c.step && x.step === l.step).n)]),
    draw: (env) =>
      plot(env, {
        height: 250,
        x: { label: "optimiser steps", ticks: 6 },
        y: { label: "heads", grid: true, nice: true, ticks: 5, tickFormat: (v) => (Number.isInteger(v) ? String(v) : "") },
        marks: [
          Plot.ruleX(picked, { x: "step", stroke: env.colour("rule"), strokeWidth: 8 }),
          Plot.areaY(layers, { x: "step", y: "n", z: "cohort", fill: env.colour("emergent"), fillOpacity: (d) => 0.75 - 0.6 * order(d.cohort), stroke: env.colour("paper"), strokeWidth: 0.75 }),
          Plot.lineY(lines, { x: "step", y: "new", stroke: env.colour("emergent"), strokeWidth: 2 }),
          Plot.lineY(lines.filter((l) => l.emergent !== undefined), { x: "step", y: "emergent", stroke: env.colour("emergent"), strokeWidth: 1.5, strokeDasharray: "1.5 4", strokeLinecap: "round" }),
          Plot.lineY(lines, { x: "step", y: "kept", stroke: env.colour("base"), strokeWidth: 2, strokeDasharray: "6 4" }),
          Plot.dot(lines, { x: "step", y: "new", r: 3, fill: env.colour("emergent"), ariaLabel: text }),
          ...tips(env, lines, { x: "step", y: "new", title: text }),
        ],
      }),
  };
};

// Births and deaths of heads, turnover with its noise floor, and its correlation with reward.
FIGURES.turnover = (results, pick) => {
  const study = studyOf(results, pick);
  if (!study?.changes.length) return { missing: noCircuit(pick) };
  const rows = study.changes.map((c, i) => ({ ...c, noise: study.checkpoints[i].noise.turnover }));
  const text = (r) => `step ${r.step}: turnover ${percent(r.turnover)}, noise floor ${between(r.noise, percent)}; born ${names(r.births)}; gone ${names(r.deaths)}`;
  return {
    title: `${study.training}: turnover of heads, ${study.suite}`,
    caption: `Line: heads born or gone since the checkpoint before, % of the heads in either circuit, at ${count(rows.length, "checkpoint")}. Grey cross and bar: the same between circuits of one checkpoint from draws of ${pairsOf(results, study.suite)}, where no weight changes, of that checkpoint itself: mean and the range of 95 % of draws; the noise floor of new and lost heads is that of the base, and may be another. Look for points above the grey bars of both ends. Its correlation with reward is in the table “Turnover and reward”.`,
    label: text(rows.at(-1)),
    columns: ["step", "turnover", "noise floor", "noise low", "noise high", "born", "gone", "change of reward or loss"],
    rows: rows.map((r) => [r.step, r.turnover, r.noise.estimate, r.noise.low, r.noise.high, names(r.births), names(r.deaths), r.reward_change ?? ""]),
    draw: (env) =>
      plot(env, {
        height: 210,
        x: { label: "optimiser steps", ticks: 6, domain: [0, d3.max(rows, (r) => r.step)] },
        y: { domain: [0, 1], label: "turnover, %", tickFormat: (v) => Math.round(100 * v), grid: true, ticks: 5 },
        marks: [
          Plot.ruleX(rows, { x: "step", y1: (r) => r.noise.low, y2: (r) => r.noise.high, stroke: env.colour("muted"), strokeWidth: 4, strokeOpacity: 0.75 }),
          Plot.dot(rows, { x: "step", y: (r) => r.noise.estimate, symbol: "times", stroke: env.colour("muted"), r: 3 }),
          Plot.lineY(rows, { x: "step", y: "turnover", stroke: env.colour("ink"), strokeWidth: 1.75 }),
          Plot.dot(rows, { x: "step", y: "turnover", r: 3.5, fill: env.colour("ink"), ariaLabel: text }),
          ...tips(env, rows, { x: "step", y: "turnover", title: text }),
        ],
      }),
  };
};

// The effect on one head over the checkpoints of every training, with intervals.
FIGURES.headEffect = (results, pick) => {
  const rows = results.heads
    .filter((s) => s.suite === pick.suite && s.rule === pick.rule)
    .flatMap((s) => s.checkpoints.flatMap((c) => {
      const test = c.tests.find((t) => t.head === pick.head);
      return test ? [{ training: s.training, label: c.label, step: c.step, fate: test.fate, found: test.found, p: test.p_value, ...test.effect }] : [];
    }));
  if (!rows.length) return { missing: `${pick.head} was in no circuit, and no change of it was found` };
  const trainings = [...new Set(rows.map((r) => r.training))];
  const colour = (env, r) => env.colour(SERIES[trainings.indexOf(r.training) % SERIES.length]);
  const text = (r) => `${r.label}: E = ${between(r, number)}, ${fateWords(r)}, ${pValue(r.p)}`;
  return {
    title: `Effect on ${pick.head} over checkpoints`,
    caption: `E = (after − before) / (after + before) of the head's share of importance, −1 to 1, at ${count(rows.length, "checkpoint")} that tested it; bar: 95 % interval over ${pairsOf(results, pick.suite)}. Filled: the change is found at the false-discovery rate. Look for filled dots whose bar leaves out 0.`,
    label: rows.map(text).join("; "),
    columns: ["training", "checkpoint", "effect", "low", "high", "test", "p before correction"],
    rows: rows.map((r) => [r.training, r.label, r.estimate, r.low, r.high, fateWords(r), r.p]),
    draw: (env) => {
      const entries = trainings.map((text, i) => ({ text, colour: env.colour(SERIES[i % SERIES.length]) }));
      const room = keyRoom(entries, env.width - 60);
      return plot(env, {
        height: 220 + room,
        marginTop: 20 + room,
        x: { label: "optimiser steps", ticks: 6 },
        y: { domain: [-1, 1], label: "effect E", grid: true, ticks: 5 },
        marks: [
          Plot.ruleY([0], { stroke: env.colour("muted") }),
          Plot.ruleX(rows, { x: "step", y1: "low", y2: "high", stroke: (r) => colour(env, r) }),
          Plot.lineY(rows, { x: "step", y: "estimate", z: "training", stroke: (r) => colour(env, r) }),
          Plot.dot(rows, { x: "step", y: "estimate", r: 4, fill: (r) => (r.found ? colour(env, r) : env.colour("paper")), stroke: (r) => colour(env, r), ariaLabel: text }),
          key(entries, env.width - 60),
          ...tips(env, rows, { x: "step", y: "estimate", title: text }),
        ],
      });
    },
  };
};
