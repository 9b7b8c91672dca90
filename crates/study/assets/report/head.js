// The panel of the selected head, and the list of edges.

const headRows = (head) =>
  results.heads
    .filter((s) => s.suite === state.suite && s.rule === state.rule)
    .map((s) => {
      const at = placeOf(s.checkpoints, state);
      const now = members(s)[at + 1];
      const test = now.tests.find((t) => t.head === head);
      const mean = s.effects.find((e) => e.head === head);
      const often = s.frequency.find((f) => f.head === head);
      const inside = now.circuit.heads.includes(head);
      return [
        s.training, now.label, inside ? "yes" : "no", test ? fateWords(test) : at < 0 ? "the base" : "not tested",
        test ? between(test.effect, number) : "–", test ? pValue(test.p_value) : "–", often ? percent(often.share) : percent(0),
        mean ? percent(mean.before) : percent(0), mean ? percent(mean.after) : percent(0),
      ];
    });

const headColumns = ["training", "checkpoint", "in its circuit", "test against the base", "effect E, 95 % interval", "p before correction", "share of checkpoints with it", "share of importance before", "mean share after"];

const circuitOf = (study) => members(study)[placeOf(study.checkpoints, state) + 1].circuit;
const edgesOf = (training) => {
  const study = studyOf(results, { ...state, training });
  if (!study) return [];
  return edgeRows(circuitOf(study).edges);
};

// A table whose columns sort, its first rows until all are asked for.
const FIRST = 12;
class Edges {
  constructor(place) {
    this.sort = { column: 2, down: true };
    this.most = FIRST;
    this.only = make("input", { type: "checkbox", id: "edges-only", on: { change: () => this.show() } });
    this.training = make("select", { id: "edges-training", on: { change: () => this.show() } }, ...trainings.map((t) => make("option", { value: t }, t)));
    this.more = make("button", { type: "button", on: { click: () => { this.most = this.most === FIRST ? Infinity : FIRST; this.show(); } } });
    this.body = make("div", { class: "wide", tabindex: "0" });
    this.said = make("p", { class: "facts" });
    place.append(
      make("p", { class: "row" },
        make("label", { for: "edges-training" }, "Circuit of "), this.training,
        make("label", {}, this.only, " only edges of the selected head"),
        make("button", { type: "button", on: { click: () => save("edges.csv", "text/csv", csv(["from", "into", "score"], this.rows())) } }, "Save as CSV")),
      this.said, this.body, this.more);
  }
  rows() {
    const { column, down } = this.sort;
    const key = (row) => (column === 2 ? Math.abs(row[2]) : column === 3 ? row[2] : row[column]);
    const node = state.head && nodeOfHead(state.head);
    const mine = this.only.checked && node ? edgesOf(this.training.value).filter((r) => r[0] === node || nodesOf(results.model, r[1]).includes(node)) : edgesOf(this.training.value);
    return mine.sort((a, b) => (down ? d3.descending : d3.ascending)(key(a), key(b)));
  }
  show() {
    const rows = this.rows();
    const head = ["from", "into", "size of score", "score"].map((name, column) =>
      make("th", { scope: "col", "aria-sort": this.sort.column === column ? (this.sort.down ? "descending" : "ascending") : "none" },
        make("button", { type: "button", class: "sort", on: { click: () => { this.sort = { column, down: this.sort.column === column ? !this.sort.down : column > 1 }; this.show(); this.body.querySelectorAll("button.sort")[column].focus(); } } }, name)));
    const row = ([from, into, score]) => make("tr", {}, cellOf(from, 0), cellOf(into, 1), make("td", {}, number(Math.abs(score), 4)), make("td", {}, number(score, 4)));
    this.body.replaceChildren(make("table", { class: "numbers" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows.slice(0, this.most).map(row))));
    const cut = rows.length > this.most ? `, of which the first ${this.most} are listed` : "";
    const study = studyOf(results, { ...state, training: this.training.value });
    const all = study && circuitOf(study).n_edges;
    this.said.textContent = `${all ? `Of the ${all} edges this page has the strongest: ` : ""}${count(rows.length, "edge")}${cut}${this.only.checked ? (state.head ? ` of ${state.head}` : "; no head is selected") : ""}; from → into, the reader's query, key or value in angle brackets. ${signWords(study?.base.metric)}`;
    this.more.hidden = rows.length <= FIRST;
    this.more.textContent = this.most === FIRST ? `Show all ${rows.length}` : `Show the first ${FIRST}`;
  }
}

const headPanel = {
  place: document.getElementById("head-panel"),
  changed: new Shown("interventions", {}),
  effects: new Shown("headEffect", {}),
  moved: new Shown("transfers", {}),
  show() {
    const { head } = state;
    if (!head) {
      this.place.closest("section").classList.add("empty");
      this.place.replaceChildren(make("p", { class: "facts" }, "No head is selected. Select one in a map, a circuit, a table, or in the box above."));
      return;
    }
    this.place.closest("section").classList.remove("empty");
    const below = [this.effects, this.changed, this.moved];
    for (const one of below) {
      one.pick = { head };
      one.show();
    }
    this.place.replaceChildren(
      make("h3", {}, head),
      make("div", { class: "wide", tabindex: "0" }, tableOf(headColumns, headRows(head))),
      ...attentionOf(head),
      ...below.map((one) => one.node));
  },
};
