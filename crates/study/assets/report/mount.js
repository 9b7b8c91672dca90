// The page: its state, and figures that follow it.

const results = read(document.getElementById("results").textContent);
const state = { suite: results.heads[0]?.suite, rule: results.heads[0]?.rule, at: undefined, head: undefined, layout: "grid" };
const trainings = [...new Set([...results.heads.map((s) => s.training), ...results.trainings.map((t) => t.name)])];
const stepsOf = (training) => results.heads.find((s) => s.training === training)?.checkpoints ?? trainingOf(results, { training })?.checkpoints ?? [];
const mostSteps = Math.max(0, ...trainings.map((t) => stepsOf(t).length));

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((c) => c !== undefined && c !== null));
  return node;
};

const save = (name, type, text) => {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
};
const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
const csv = (columns, rows) => {
  const cell = (v) => (/[",\r\n]/.test(String(v)) ? `"${String(v).replaceAll('"', '""')}"` : String(v));
  return [columns, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
};

const room = document.querySelector("main");
const env = {
  document,
  interactive: true,
  colour: (name) => `var(--${name})`,
  get width() { return room.clientWidth < 900 ? Math.max(300, Math.min(room.clientWidth, WIDTH)) : WIDTH; },
  get wide() { return Math.max(300, Math.min(room.clientWidth, WIDE)); },
};

// An SVG as a file: the colours that the page has now.
const svgFile = (svg) => {
  const copy = svg.cloneNode(true);
  for (const tip of copy.querySelectorAll('[aria-label="tip"]')) tip.remove();
  const style = getComputedStyle(document.documentElement);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const solid = (value) => value.replace(/var\((--[a-z]+)\)/g, (_, name) => style.getPropertyValue(name).trim()).replace(/light-dark\((\S+), (\S+)\)/, dark ? "$2" : "$1");
  for (const node of [copy, ...copy.querySelectorAll("*")]) {
    for (const { name, value } of [...node.attributes]) if (/var\(--|light-dark/.test(value)) node.setAttribute(name, solid(value));
  }
  copy.setAttribute("color", style.getPropertyValue("--ink").trim());
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return new XMLSerializer().serializeToString(copy);
};

// One figure in its place: title, drawing, caption, numbers.
class Shown {
  constructor(name, pick) {
    this.name = name;
    this.pick = pick;
    this.title = make("h4");
    this.drawing = make("div", { class: "plot" });
    this.caption = make("figcaption");
    this.body = make("div", { class: "wide", tabindex: "0" });
    const file = () => slug(this.figure.title);
    this.numbers = make("details", { class: "numbers", on: { toggle: () => this.table() } },
      make("summary", {}, "Numbers"),
      make("p", { class: "save" },
        make("button", { type: "button", on: { click: () => save(`${file()}.csv`, "text/csv", csv(this.figure.columns, this.figure.rows)) } }, "Save as CSV"),
        make("button", { type: "button", on: { click: () => save(`${file()}.svg`, "image/svg+xml", svgFile(this.figure.draw(env))) } }, "Save as SVG")),
      this.body);
    this.node = make("figure", { id: `fig-${slug([name, ...Object.values(pick)].join("-"))}` }, this.title, this.drawing, this.caption, this.numbers);
  }
  show() {
    const figure = (this.figure = FIGURES[this.name](results, { ...state, head: undefined, ...this.pick }));
    this.node.classList.toggle("missing", Boolean(figure.missing));
    this.numbers.hidden = Boolean(figure.missing);
    this.title.textContent = figure.title ?? "";
    this.caption.textContent = figure.missing ? `Not in this study: ${figure.missing}.` : figure.caption;
    this.drawing.replaceChildren();
    if (figure.missing) return;
    const drawn = figure.pieces ? d3.range(figure.pieces).map((piece) => figure.draw(env, piece)) : [figure.draw(env)];
    const width = d3.max(drawn, (svg) => Number(svg.getAttribute("width")));
    drawn.forEach((svg, i) => {
      const part = drawn.length > 1 ? `, part ${i + 1} of ${drawn.length}` : "";
      svg.setAttribute("role", "group");
      svg.setAttribute("aria-label", `${figure.title}${part}. ${i ? "" : figure.label}`);
      // A drawing far wider than its place scrolls.
      svg.classList.toggle("scroll", width > 1.5 * env.wide || (width > 640 && env.width < WIDTH));
    });
    // A wide one has a row of its own.
    this.node.classList.toggle("broad", width > 1.25 * WIDTH);
    this.drawing.append(...drawn);
    drawn.forEach(rove);
    this.table();
  }
  table() {
    if (this.numbers.open && !this.figure.missing) this.body.replaceChildren(tableOf(this.figure.columns, this.figure.rows));
  }
}

const shownNumber = (v) => (typeof v !== "number" ? v : Number.isInteger(v) ? String(v) : Number(v.toPrecision(5)).toString());
// A column in which no row has a value is left out.
const tableOf = (columns, rows) => {
  const kept = columns.map((_, i) => i).filter((i) => !rows.length || rows.some((row) => !["", "–", null, undefined].includes(row[i])));
  return make("table", {},
    make("thead", {}, make("tr", {}, ...kept.map((i) => make("th", { scope: "col" }, columns[i])))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...kept.map((i) => cellOf(row[i], i))))));
};
// The head that an edge end or a text names, as a button.
const cellOf = (value, i) => {
  const head = /^L\d+H\d+$/.test(value) ? value : headOf(String(value).split("<")[0]);
  const inside = head ? make("button", { type: "button", class: "chip", "data-head": head }, value) : shownNumber(value);
  return make(i === 0 ? "th" : "td", i === 0 ? { scope: "row" } : {}, inside);
};

// One stop of the Tab key a drawing; arrows go from head to head.
const rove = (svg) => {
  const all = [...svg.querySelectorAll("[data-head]")];
  for (const one of all) one.setAttribute("tabindex", "-1");
  (all.find((one) => one.dataset.head === state.head) ?? all[0])?.setAttribute("tabindex", "0");
};
const step = (from, key) => {
  const [dl, dh] = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
  const svg = from.closest("svg");
  let [l, h] = place(from.dataset.head);
  const { n_layers, n_heads } = results.model;
  for (l += dl, h += dh; l >= 0 && h >= 0 && l < n_layers && h < n_heads; l += dl, h += dh) {
    const next = svg.querySelector(`[data-head="L${l}H${h}"]`);
    if (next) return next;
  }
  return null;
};
