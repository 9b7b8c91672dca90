// What every figure shares: palette, words for numbers, sets of heads, and the register of figures.
//
// A figure is a function of the results and of what is picked in them; it returns
// { title, caption, label, columns, rows, draw(env) }, or { missing } with the reason where the results lack what it
// shows. `draw` returns an SVG element made with env.document; env.colour(name) is a colour of the palette. A figure of
// many rows has `pieces`, and draw(env, piece) draws one of them, so that no drawing is longer than a printed page.
const FIGURES = {};
const WIDTH = 460;
const WIDE = 920;
// Colours of the palette for lines that stand beside each other.
const SERIES = ["emergent", "base", "green", "violet", "ochre", "ink"];

// The palette, as report/style.css has it.
const LIGHT = {
  ink: "#22262b", muted: "#666c74", rule: "#dedad2", cell: "#ece8e0", paper: "#fbfaf7", base: "#b5432d",
  emergent: "#2a6cab", green: "#2f7d5b", violet: "#7a55a8", ochre: "#94660f", teal: "#147682",
};
const DARK = {
  ink: "#e6e3dd", muted: "#9ba1a8", rule: "#34383e", cell: "#2a2e33", paper: "#15171a", base: "#ea8a70",
  emergent: "#70b2ea", green: "#6fc39b", violet: "#b99be6", ochre: "#d8ab55", teal: "#5fc4cc",
};
// WCAG's relative luminance of a colour of the palette that covers a map's cell by `opacity`.
const luminance = (palette, fill, opacity) => {
  const channel = (colour, at) => parseInt(colour.slice(1 + 2 * at, 3 + 2 * at), 16) / 255;
  const mixed = (at) => (fill ? opacity * channel(palette[fill], at) + (1 - opacity) * channel(palette.cell, at) : channel(palette.cell, at));
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(mixed(0)) + 0.7152 * linear(mixed(1)) + 0.0722 * linear(mixed(2));
};
// Black or white, whichever is told better from such a cell: at least 4.58 to 1 on any colour.
const inkOn = (env, fill, opacity = 1) => {
  const ink = (palette) => ((luminance(palette, fill, opacity) + 0.05) ** 2 > 1.05 * 0.05 ? "#000" : "#fff");
  return env.interactive ? `light-dark(${ink(LIGHT)}, ${ink(DARK)})` : ink(LIGHT);
};

// Results from their file, in which what is empty is left out.
const read = (json) => ({ heads: [], think: [], roles: [], ...JSON.parse(json) });

const NARROW = "\u202f";
const percent = (x) => {
  const p = 100 * Math.abs(x);
  const digits = (p > 0 && p < 9.95) || (p > 99 && p < 100) ? 1 : 0;
  return (x < 0 ? "−" : "") + p.toFixed(digits) + NARROW + "%";
};
// A stated rate: 5 %.
const rate = (x) => `${Number((100 * x).toFixed(1))}${NARROW}%`;
const number = (x, digits = 2) => {
  const text = Math.abs(x).toFixed(digits);
  return x < 0 && /[1-9]/.test(text) ? "−" + text : text;
};
const points = (x) => {
  const text = Math.abs(100 * x).toFixed(Math.abs(100 * x) < 9.95 ? 1 : 0);
  return (/[1-9]/.test(text) ? (x < 0 ? "−" : "+") : "±") + text;
};
const pValue = (p) => (p < 0.001 ? `p${NARROW}<${NARROW}0.001` : `p${NARROW}=${NARROW}${p.toFixed(3)}`);
const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
const between = (i, words) => `${words(i.estimate)} [${words(i.low)} to ${words(i.high)}]`;
// What a metric is called, and its unit.
const METRICS = { "logit-diff": ["logit difference", "logits"], "prob-diff": ["probability difference", "of probability"], kl: ["KL divergence", "nats"], nll: ["negative log-likelihood", "nats"] };
const metricWords = (metric) => METRICS[metric] ?? [metric, ""];
// What the test of a head says. Which head is new or lost depends on the pairs as well: only a change that is found is one.
const FATES = { emergent: "emergent", new: "new, not emergent", retained: "kept", lost: "lost", outside: "in neither circuit" };
const fateWords = (test) => FATES[test.fate] + (test.fate === "lost" || test.fate === "outside" ? `, change ${test.found ? "found" : "not found"}` : "");
const signed = (words) => (x) => (x > 0 ? "+" : "") + words(x);
const names = (heads) => (heads.length ? heads.join(", ") : "none");

// "L5H1" as [5, 1].
const place = (head) => head.slice(1).split("H").map(Number);
const allHeads = (model) =>
  d3.range(model.n_layers).flatMap((l) => d3.range(model.n_heads).map((h) => `L${l}H${h}`));
// Nodes are "input", "a5.h1", "m5", "logits"; an edge is "a1.h3->a5.h1<q>".
const ends = (edge) => edge.split("->");
const headOf = (node) => {
  const found = /^a(\d+)\.h(\d+)$/.exec(node);
  return found ? `L${found[1]}H${found[2]}` : null;
};
const nodeOfHead = (head) => `a${head.slice(1).replace("H", ".h")}`;
// The nodes that the end of an edge belongs to: a key or value that query heads share belongs to all of them.
const nodesOf = (model, end) => {
  const [node, port] = end.split("<");
  const head = headOf(node);
  if (!head || !port || port[0] === "q" || model.key_value !== "grouped") return [node];
  const [l, g] = place(head);
  const group = model.n_heads / model.n_kv_heads;
  return d3.range(g * group, (g + 1) * group).map((h) => `a${l}.h${h}`);
};
const jaccard = (a, b) => {
  const [x, y] = [new Set(a), new Set(b)];
  const either = new Set([...x, ...y]).size;
  return either ? [...x].filter((one) => y.has(one)).length / either : 1;
};

// The circuits and heads of one training, on the suite and by the rule that are picked.
const studyOf = (results, pick) =>
  results.heads.find(
    (s) =>
      s.training === pick.training &&
      (pick.suite === undefined || s.suite === pick.suite) &&
      (pick.rule === undefined || s.rule === pick.rule)
  );
const noCircuit = ({ training, suite, rule }) =>
  `no circuit of ${training ?? "a training"}${suite ? ` on ${suite}` : ""}${rule ? ` by ${rule}` : ""}`;
const trainingOf = (results, pick) => results.trainings.find((t) => t.name === pick.training);
// The place of the picked checkpoint: -1 is the base, and what is beyond the last is the last.
const placeOf = (list, pick) => Math.min(pick.at ?? Infinity, list.length - 1);
// The base and the checkpoints of a head study, alike.
const members = (study) => [{ label: "base", step: 0, circuit: study.base, tests: [] }, ...study.checkpoints];
// How many pairs the circuits of a suite were found on, and samples of each problem of a benchmark, where that is known.
const pairsOf = (results, suite) => {
  const n = results.task.suites.find((s) => s.name === suite)?.pairs?.n;
  return n ? `${count(n, "pair")} of prompts` : "the pairs of prompts";
};
const samplesOf = (results, benchmark) => {
  const n = results.benchmarks?.find((b) => b.name === benchmark)?.samples;
  return n ? `, ${count(n, "sample")} each` : "";
};

// Gives the marks of a plot the attributes of their data: data-head, data-node and so on, for the page to link.
const tagged = (data, attributes) => (index, scales, values, dimensions, context, next) => {
  const group = next(index, scales, values, dimensions, context);
  const marks = [...group.childNodes].filter((node) => node.nodeType === 1);
  marks.forEach((mark, i) => {
    for (const [name, value] of Object.entries(attributes(data[index[i]]))) {
      if (value !== null && value !== undefined) mark.setAttribute(name, value);
    }
  });
  return group;
};

// Rows of one piece of a long figure, and how many pieces there are; all rows where no piece is asked for.
const PIECE = 14;
const piecesOf = (rows) => Math.ceil(rows.length / PIECE);
const pieceOf = (rows, piece) => (piece === undefined ? rows : rows.slice(PIECE * piece, PIECE * (piece + 1)));

// Names in their colours, in lines above the frame from the right. A plot with a key has a marginTop of keyRoom more.
const keyLines = (entries, width) => {
  const lines = [];
  let left = 0;
  for (const entry of entries) {
    const takes = 6.6 * entry.text.length + 12;
    if (!lines.length || left < takes) {
      lines.push([]);
      left = width;
    }
    left -= takes;
    lines.at(-1).push({ ...entry, takes });
  }
  return lines.flatMap((line, row) => line.map((entry, i) => ({ ...entry, dx: -d3.sum(line.slice(i + 1), (e) => e.takes), dy: 15 * (row - lines.length + 1) })));
};
const keyRoom = (entries, width) => 20 - d3.min(keyLines(entries, width), (e) => e.dy) || 0;
const key = (entries, width, up = 18) => {
  const placed = keyLines(entries, width);
  return Plot.text(placed, {
    ...(entries[0]?.fx ? { fx: "fx" } : {}), frameAnchor: "top-right", dy: -up, text: "text", fill: "colour", textAnchor: "end",
    render: tagged(placed, (e) => ({ dx: e.dx, dy: e.dy })),
  });
};
const short = (text, most = 18) => (text.length > most ? text.slice(0, most - 1) + "…" : text);

// A plot with the settings that all share.
const plot = (env, options) => {
  if (options.x?.label) options = { marginBottom: 42, ...options, x: { labelAnchor: "center", labelArrow: "none", ...options.x } };
  const svg = Plot.plot({
    document: env.document,
    width: env.width,
    style: { fontSize: "12px", background: "transparent" },
    ...options,
    color: { type: "identity", ...options.color },
  });
  // Its rules are in the page's style sheet, and a file needs none.
  svg.querySelector("style")?.remove();
  // Names of kinds of marks say nothing to a reader; those of single marks do.
  for (const group of svg.querySelectorAll("g[aria-label]:not([aria-label=tip])")) group.removeAttribute("aria-label");
  for (const mark of svg.querySelectorAll("[aria-label]:not([role]):not(g)")) mark.setAttribute("role", "img");
  return svg;
};
// A pointer's tip in the page; a file has none.
const tips = (env, data, options) => (env.interactive ? [Plot.tip(data, Plot.pointer({ ariaHidden: "true", ...options }))] : []);
