// Drawing into a file, outside a browser: linkedom is the document, and colours are those of the light page.

const made = (name, attributes, text) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
};
const size = (svg) => ["width", "height"].map((name) => Number(svg.getAttribute(name)));

// Words as a drawing, broken into lines.
const note = (text, width) => {
  const most = Math.floor(width / 6.4);
  const lines = [];
  for (const word of text.split(" ")) {
    if (lines.length && (lines.at(-1) + word).length < most) lines.push(`${lines.pop()} ${word}`);
    else lines.push(word);
  }
  const svg = made("svg", { width, height: 8 + 17 * lines.length });
  lines.forEach((line, i) => svg.append(made("text", { x: 0, y: 15 + 17 * i, "font-size": 12, fill: LIGHT.muted }, line)));
  return svg;
};

// A sheet of panels below each other, with their titles. A panel is { name, pick }.
const drawSheet = (results, title, panels) => {
  const env = { document, interactive: false, width: WIDTH, wide: WIDE, colour: (c) => LIGHT[c] };
  const drawn = panels.map(({ name, pick }) => {
    const { draw, ...figure } = FIGURES[name](results, pick);
    return { figure, svg: draw ? draw({ ...env }) : note(`Not in this study: ${figure.missing}.`, WIDTH) };
  });
  const width = d3.max(drawn, (d) => size(d.svg)[0]) + 24;
  const body = [];
  let y = 14;
  const put = (svg, x) => {
    svg.removeAttribute("class");
    svg.removeAttribute("style");
    for (const [key, value] of [["x", x], ["y", y]]) svg.setAttribute(key, value);
    body.push(svg);
    y += size(svg)[1];
  };
  if (drawn.length > 1 || drawn[0].figure.missing) {
    const head = note(title, width - 24);
    for (const line of head.childNodes) for (const [k, v] of [["font-weight", 600], ["font-size", 13.5], ["fill", LIGHT.ink]]) line.setAttribute(k, v);
    put(head, 12);
    y += 8;
  }
  drawn.forEach(({ figure, svg }, i) => {
    const letter = drawn.length > 1 ? `(${String.fromCharCode(65 + i)}) ` : "";
    if (!figure.missing) {
      body.push(made("text", { x: 12, y: y + 14, "font-size": 13, "font-weight": 600, fill: LIGHT.ink }, letter + figure.title));
      y += 24;
      svg.setAttribute("font-size", "12");
    }
    put(svg, 12);
    if (figure.caption) put(note(figure.caption, width - 24), 12);
    y += 16;
  });
  const out = made("svg", { xmlns: "http://www.w3.org/2000/svg", width, height: y, viewBox: `0 0 ${width} ${y}`, role: "img", color: LIGHT.ink, "font-family": "system-ui, sans-serif" });
  out.append(made("title", {}, title));
  out.append(made("desc", {}, drawn.map((d) => d.figure.label ?? `Not in this study: ${d.figure.missing}.`).join(" ")));
  out.append(made("rect", { width, height: y, fill: LIGHT.paper }));
  out.append(...body);
  // XML has no form for control characters.
  const svg = out.toString().replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g, "\ufffd") + "\n";
  return JSON.stringify({ svg, panels: drawn.map((d) => d.figure) });
};

// One line over steps each, for a page with the palette: SVG texts as JSON.
const drawSeries = (all) => {
  const env = { document, interactive: false, width: WIDTH, wide: WIDE, colour: (c) => `var(--${c})` };
  return JSON.stringify(all.map(({ label, points }) => {
    const rows = points.map(([x, y]) => ({ x, y }));
    const svg = plot(env, {
      height: 190,
      x: { label: "optimiser steps", ticks: 5 },
      y: { label, grid: true, ticks: 4, zero: true, nice: true },
      marks: [
        Plot.lineY(rows, { x: "x", y: "y", stroke: env.colour("ink"), strokeWidth: 1.75 }),
        Plot.dot(rows.length <= 60 ? rows : [], { x: "x", y: "y", r: 3, fill: env.colour("ink"), title: (d) => `${d.x}: ${number(d.y, 3)}` }),
      ],
    });
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${label} over steps, from ${number(rows[0].y, 3)} to ${number(rows.at(-1).y, 3)}`);
    return svg.toString();
  }));
};
