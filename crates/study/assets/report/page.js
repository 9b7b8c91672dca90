// Controls, links between figures, keys.

const shown = [];
for (const place of document.querySelectorAll("[data-figure]")) {
  const each = {
    training: () => trainings.map((training) => ({ training })),
    benchmark: () => [...new Set(results.base.accuracy.map((a) => a.suite))].map((benchmark) => ({ benchmark })),
    think: () => results.think.flatMap(({ checkpoint }) => [{ checkpoint }]),
    modes: () => results.think.flatMap(({ checkpoint }) => ["on", "off"].map((mode) => ({ checkpoint, mode }))),
    edges: () => trainings.map((training) => ({ training, of: "edges" })),
  }[place.dataset.each] ?? (() => [{}]);
  for (const pick of each()) {
    const one = new Shown(place.dataset.figure, pick);
    shown.push(one);
    place.append(one.node);
  }
}
const edgesPlace = document.getElementById("edge-list");
const edges = edgesPlace && trainings.length ? new Edges(edgesPlace) : null;

const say = (text) => { document.getElementById("said").textContent = text; };

// Marks the selected head everywhere, without drawing anew.
const mark = () => {
  for (const old of document.querySelectorAll(".hot")) old.classList.remove("hot");
  for (const svg of document.querySelectorAll("svg.focus")) svg.classList.remove("focus");
  const { head } = state;
  if (!head) return;
  for (const one of document.querySelectorAll(`[data-head="${head}"]`)) one.classList.add("hot");
  const node = nodeOfHead(head);
  for (const wire of document.querySelectorAll(`.wire[data-a="${node}"], .wire[data-b~="${node}"]`)) {
    wire.classList.add("hot");
    wire.closest(".plot > svg").classList.add("focus");
  }
};

const headBox = document.getElementById("pick-head");
const select = (head, from) => {
  state.head = head && allHeads(results.model).includes(head) ? head : undefined;
  headBox.value = state.head ?? "";
  headBox.removeAttribute("aria-invalid");
  document.getElementById("no-head").textContent = "";
  headPanel.show();
  edges?.show();
  for (const svg of document.querySelectorAll(".plot > svg")) rove(svg);
  mark();
  if (from && !from.isConnected) headPanel.place.querySelector(`[data-head="${head}"]`)?.focus();
  say(state.head ? `${state.head} selected` : "no head selected");
};

const slider = document.getElementById("pick-at");
const draw = () => {
  for (const one of shown) one.show();
  headPanel.show();
  edges?.show();
  mark();
};
const atWords = () => trainings.map((t) => { const s = stepsOf(t); const at = placeOf(s, state); return at < 0 ? "base" : `${s[at].label}`; }).filter((w, i, all) => all.indexOf(w) === i).join(", ");
const moved = () => {
  state.at = Number(slider.value) - 1;
  document.getElementById("at").textContent = atWords();
  slider.setAttribute("aria-valuetext", atWords());
  draw();
};

slider.max = mostSteps;
slider.value = mostSteps;
slider.disabled = mostSteps === 0;
slider.addEventListener("input", moved);
for (const [id, key, values] of [["pick-suite", "suite", results.heads.map((s) => s.suite)], ["pick-rule", "rule", results.heads.map((s) => s.rule)]]) {
  const box = document.getElementById(id);
  box.append(...[...new Set(values)].map((v) => make("option", { value: v }, v)));
  box.disabled = box.options.length < 2;
  box.addEventListener("change", () => { state[key] = box.value; draw(); say(`${key} ${box.value}`); });
}
document.getElementById("pick-layout").addEventListener("change", (event) => { state.layout = event.target.value; draw(); });
document.getElementById("all-heads").append(...allHeads(results.model).map((h) => make("option", { value: h })));
const noHead = document.getElementById("no-head");
headBox.addEventListener("change", () => {
  const wanted = headBox.value.trim().toUpperCase();
  const all = allHeads(results.model);
  select(wanted || undefined);
  if (!wanted || all.includes(wanted)) return;
  headBox.setAttribute("aria-invalid", "true");
  noHead.textContent = `${wanted.slice(0, 12)} is no head of this model: they are ${all[0]} to ${all.at(-1)}`;
});
document.getElementById("clear").addEventListener("click", () => select(undefined));
document.getElementById("save-results").addEventListener("click", () => save("page-results.json", "application/json", JSON.stringify(results, null, 2) + "\n"));

document.addEventListener("click", (event) => {
  const one = event.target.closest("[data-head]");
  if (one) select(one.dataset.head === state.head && one.closest("svg") ? undefined : one.dataset.head, one);
});
document.addEventListener("keydown", (event) => {
  const one = event.target.closest?.("svg [data-head]");
  if (event.key === "Escape") select(undefined);
  if (!one) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    select(one.dataset.head);
  } else if (event.key.startsWith("Arrow")) {
    event.preventDefault();
    const next = step(one, event.key);
    if (!next) return;
    one.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
    say(next.getAttribute("aria-label"));
  }
});
// Closed details are printed open. The style sheet does it where the browser can; this does it elsewhere.
const opened = [];
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details:not(.numbers):not(.trials):not([open])")) {
    one.open = true;
    opened.push(one);
  }
});
addEventListener("afterprint", () => { for (const one of opened.splice(0)) one.open = false; });
let drawnAt = room.clientWidth;
addEventListener("resize", () => {
  if (room.clientWidth === drawnAt) return;
  drawnAt = room.clientWidth;
  draw();
});
moved();
