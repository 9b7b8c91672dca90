// A circuit as a drawing: by layer and head, where a head has the same place at every checkpoint, or laid out by dagre.

const MOST = 160;
const isLoss = (metric) => metric === "kl" || metric === "nll";
// What the colour of an edge and the sign of its score mean.
const signWords = (metric) => {
  const [helps, hurts] = isLoss(metric) ? ["above", "below"] : ["below", "above"];
  return `Blue edge (score ${helps} 0): it works for the answer, with its value from the corrupt prompt the ${metricWords(metric)[0]} would be ${isLoss(metric) ? "larger, which is worse" : "smaller"}; red, dashed (score ${hurts} 0): it works against it.`;
};

// Place of a node in the grid: the embeddings at the bottom, layers upwards, MLPs to the right, the logits on top.
const gridPlace = (model) => (node) => {
  if (node === "input") return [model.n_heads / 2, -1];
  if (node === "logits") return [model.n_heads / 2, model.n_layers];
  const mlp = /^m(\d+)$/.exec(node);
  if (mlp) return [model.n_heads + 0.4, Number(mlp[1]) + 0.35];
  const [l, h] = place(headOf(node));
  return [h, l];
};

// dagre ranks the nodes itself; the corners of its edges are kept.
const dagrePlaces = (nodes, edges) => {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "BT", nodesep: 14, ranksep: 34 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of nodes) graph.setNode(node, { width: 36, height: 28 });
  for (const e of edges) graph.setEdge(e.from, e.to[0]);
  dagre.layout(graph);
  const { width, height } = graph.graph();
  return {
    width,
    height,
    place: (node) => [graph.node(node).x, height - graph.node(node).y],
    corners: (e) => graph.edge(e.from, e.to[0]).points.map((p) => [p.x, height - p.y]),
  };
};

// What is drawn: { model, edges: [{ edge, score }], metric, heads: Map(head → [kind, words]), most, layout, alone: no
// other nodes }.
const drawCircuit = (env, { model, edges, metric, heads, most, layout, alone }) => {
  const shown = edges.slice(0, most).map((e) => {
    const [from, to] = ends(e.edge);
    return { from, to: nodesOf(model, to), end: to, score: e.score };
  });
  const strongest = d3.max(shown, (e) => Math.abs(e.score)) || 1;
  const strength = (e) => Math.sqrt(Math.abs(e.score) / strongest);
  const raises = (e) => e.score < 0 !== isLoss(metric);
  const touched = new Set(shown.flatMap((e) => [e.from, ...e.to]));
  const gridNodes = () => ["input", "logits", ...d3.range(model.n_layers).map((l) => `m${l}`), ...allHeads(model).map(nodeOfHead)];
  const layered = layout === "layered" ? dagrePlaces([...touched], shown) : null;
  const at = layered ? layered.place : gridPlace(model);
  const into = (e) => (layered ? at(e.to[0]) : [d3.mean(e.to, (n) => at(n)[0]), at(e.to[0])[1]]);
  const width = layered ? Math.max(env.width, Math.min(1600, layered.width + 40)) : Math.max(env.width, Math.min(1100, 90 + 42 * model.n_heads));
  const height = layered ? Math.max(300, layered.height + 40) : Math.max(220, Math.min(1300, 90 + 70 * model.n_layers));
  const degree = (node) => [edges.filter((e) => nodesOf(model, ends(e.edge)[1]).includes(node)).length, edges.filter((e) => ends(e.edge)[0] === node).length];
  const nodes = (layered ? [...touched] : gridNodes().filter((n) => !alone || touched.has(n))).map((node) => {
    const head = headOf(node);
    const [kind, words] = (head ? heads.get(head) : touched.has(node) ? ["node", "in the circuit"] : null) ?? ["off", "not in the circuit"];
    const [x, y] = at(node);
    return { node, head, x, y, kind, text: `${head ?? node}: ${words}; ${count(degree(node)[0], "edge")} in, ${degree(node)[1]} out` };
  });
  const r = layered ? 14 : Math.max(4, Math.min(12, (width - 60) / (model.n_heads + 1) / 2.8));
  const ring = { new: "emergent", emergent: "emergent", kept: "base", node: "muted", off: "muted" };
  const edgeText = (e) => `${e.from} → ${e.end}: ${number(e.score, 3)}`;
  const wires = [...shown].reverse();
  const stroke = (e) => env.colour(raises(e) ? "emergent" : "base");
  const tag = (e) => ({ class: "wire", "data-a": e.from, "data-b": e.to.join(" "), "stroke-dasharray": raises(e) ? null : "4 3" });
  const paths = layered
    ? wires.map((e) => {
        const points = [at(e.from), ...layered.corners(e).slice(1, -1), into(e)];
        return Plot.line(points, { x: (p) => p[0], y: (p) => p[1], curve: "basis", stroke: stroke(e), strokeWidth: 0.6 + 3.2 * strength(e), strokeOpacity: 0.2 + 0.6 * strength(e), render: tagged([e], () => tag(e)) });
      })
    : [Plot.link(wires, {
        x1: (e) => at(e.from)[0], y1: (e) => at(e.from)[1], x2: (e) => into(e)[0], y2: (e) => into(e)[1], curve: "bump-y",
        stroke, strokeWidth: (e) => 0.6 + 3.2 * strength(e), strokeOpacity: (e) => 0.2 + 0.6 * strength(e),
        ...(env.interactive ? {} : { title: edgeText }), render: tagged(wires, tag),
      })];
  const ticks = d3.range(model.n_layers).filter((l) => l % Math.ceil(model.n_layers / 16) === 0);
  return plot(env, {
    width, height, marginLeft: layered ? 10 : 34, marginRight: layered ? 10 : 14, marginTop: 16, marginBottom: 16,
    x: layered ? { axis: null, domain: [0, layered.width] } : { axis: null, domain: [-0.6, model.n_heads + 0.8] },
    y: layered ? { axis: null, domain: [0, layered.height] } : { domain: [-1.2, model.n_layers + 0.2], ticks, tickFormat: (l) => `L${l}`, tickSize: 0, label: null },
    marks: [
      ...paths,
      Plot.dot(nodes, {
        x: "x", y: "y", r, symbol: (d) => (d.head ? "circle" : "square"), fill: env.colour("paper"), stroke: (d) => env.colour(ring[d.kind]),
        strokeWidth: (d) => ({ off: 0.7, node: 1.4 })[d.kind] ?? 2.4,
        ...(env.interactive ? {} : { title: "text" }),
        render: tagged(nodes, (d) => ({ "data-node": d.node, ...(env.interactive && d.head ? { "data-head": d.head, class: "pick", role: "button", "aria-label": d.text } : {}) })),
      }),
      Plot.text(nodes.filter((d) => r >= 8 && (d.kind !== "off" || layered)), { x: "x", y: "y", text: (d) => (layered ? d.head ?? d.node : d.head ? String(place(d.head)[1]) : d.node.replace("input", "in").replace("logits", "out")), fontSize: 8.5, fill: env.colour("ink"), pointerEvents: "none" }),
      ...tips(env, nodes, { x: "x", y: "y", title: "text" }),
    ],
  });
};

// What each head of a checkpoint's circuit is against the base's.
const kinds = (results, study, at) => {
  const base = new Set(study.base.heads);
  const now = members(study)[at + 1];
  const circuit = new Set(now.circuit.heads);
  const emergent = new Set(at < 0 ? [] : study.changes[at].emergent ?? []);
  return new Map(allHeads(results.model).map((head) => {
    if (circuit.has(head)) {
      if (base.has(head)) return [head, ["kept", at < 0 ? "in the base's circuit" : "in the base's circuit too"]];
      return [head, emergent.has(head) ? ["emergent", "emergent"] : ["new", "new, not emergent"]];
    }
    return [head, ["off", base.has(head) ? "lost: in the base's circuit, not in this one" : "not in the circuit"]];
  }));
};

const edgeRows = (edges) => edges.map((e) => [...ends(e.edge), e.score]);
const circuitTable = (edges) => ({ columns: ["from", "into", "score"], rows: edgeRows(edges) });

// Thinking Sparks, Figures 15 to 18.
FIGURES.circuit = (results, pick) => {
  const study = studyOf(results, pick);
  if (!study) return { missing: noCircuit(pick) };
  const at = placeOf(study.checkpoints, pick);
  const { label, circuit } = members(study)[at + 1];
  const total = circuit.n_edges ?? circuit.edges.length;
  const most = pick.most ?? MOST;
  const hidden = total > most ? ` The ${most} strongest edges are drawn, ${total - most} are not.` : "";
  const gap = (c) => Math.abs(c.clean - c.corrupt);
  const narrow = gap(circuit) < 0.1 * d3.max(results.heads.filter((s) => s.suite === study.suite && s.rule === study.rule).flatMap(members), (m) => gap(m.circuit));
  const random = [...circuit.nulls, ...(circuit.degree_nulls ?? [])];
  const nulls = random.length ? `; of ${count(random.length, "random circuit")}, with as many edges between the same layers or at the same nodes, the nearest to 1 has ${number(d3.least(random, (f) => Math.abs(1 - f)))}` : "";
  return {
    title: `${study.training}: the circuit of ${label}, ${study.suite}`,
    caption: `Circles: heads; squares: embeddings (in), MLPs (m), logits (out). ${count(circuit.heads.length, "head")}, ${count(circuit.n_nodes, "node")}, ${count(total, "edge")}, found on ${pairsOf(results, study.suite)}; ${narrow ? "the metric hardly differs between clean and corrupt prompts, so that faithfulness says nothing" : `faithfulness ${number(circuit.faithfulness)}${nulls}`}.${hidden} ${signWords(circuit.metric)} Width: root of the size of the score, which has no interval here. Ring: blue, new since the base; red, in the base's circuit too. Look for blue rings with wide edges.`,
    label: `heads ${names(circuit.heads)}`,
    ...circuitTable(circuit.edges),
    draw: (env) => drawCircuit(env, { model: results.model, edges: circuit.edges, metric: circuit.metric, heads: kinds(results, study, at), most, layout: pick.layout }),
  };
};

// A circuit of a file, alone.
FIGURES.file = (circuit) => ({
  title: circuit.title,
  caption: `Circles: heads; squares: embeddings (in), MLPs (m), logits (out). ${signWords(circuit.metric)} Width: root of the size of the score; all edges are alike where no scores were given.`,
  label: circuit.title,
  ...circuitTable(circuit.edges),
  draw: (env) => drawCircuit(env, { ...circuit, heads: new Map(circuit.heads.map((h) => [h, ["node", "in the circuit"]])), most: circuit.edges.length, alone: true }),
});

// Think on and off, Figure 17.
FIGURES.thinkCircuit = (results, pick) => {
  const study = results.think.find((t) => !pick.checkpoint || t.checkpoint === pick.checkpoint);
  if (!study) return { missing: "the stage think (thinking on and off) has not run in this study" };
  const circuit = study[pick.mode ?? "on"];
  const only = new Set(study[`${pick.mode ?? "on"}_only`]);
  return {
    title: `${study.checkpoint} with thinking ${pick.mode ?? "on"}`,
    caption: `${count(circuit.heads.length, "head")}, ${count(circuit.edges.length, "edge")}; faithfulness ${number(circuit.faithfulness)} on ${count(study.pairs, "pair")} of prompts: clean, a problem of ${study.benchmark} and the checkpoint's own opening with thinking ${pick.mode ?? "on"}; corrupt, its opening in the other mode. The two circuits read the same openings in opposite directions, so that heads which tell the modes apart are in both. ${signWords(circuit.metric)} Width: root of the size of the score, which has no interval here. Ring: ${only.size ? `blue, in this mode only (${names([...only])}); red, in both modes. Look for blue rings` : "red, in both modes; no head is in this mode only"}.`,
    label: `heads ${names(circuit.heads)}`,
    ...circuitTable(circuit.edges),
    draw: (env) => drawCircuit(env, { model: results.model, edges: circuit.edges, metric: circuit.metric, most: pick.most ?? MOST, layout: pick.layout, heads: new Map(circuit.heads.map((h) => [h, only.has(h) ? ["new", "in this mode only"] : ["kept", "in both modes"]])) }),
  };
};
