"use strict";
(() => {
  const tip = document.getElementById("tip");
  // Tooltips: the native title becomes ours, and stays as the element's name for a screen reader.
  for (const title of document.querySelectorAll("svg.fig title")) {
    const element = title.parentElement;
    element.dataset.tip = title.textContent;
    element.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  const place = (x, y) => {
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(12, x - box.width / 2), innerWidth - box.width - 12);
    const top = y - box.height - 14 < 8 ? y + 20 : y - box.height - 14;
    tip.style.left = left + "px";
    tip.style.top = top + "px";
  };
  const show = (element, x, y) => {
    const from = element.closest("[data-tip]") || element.querySelector?.("[data-tip]");
    if (!from) { tip.hidden = true; return; }
    tip.textContent = from.dataset.tip;
    tip.hidden = false;
    place(x, y);
  };
  const mark = (element) => {
    for (const old of document.querySelectorAll(".hot")) old.classList.remove("hot");
    for (const old of document.querySelectorAll(".focus")) old.classList.remove("focus");
    for (const old of document.querySelectorAll(".wire.on")) old.classList.remove("on");
    const headed = element?.closest("[data-head]");
    const heads = headed ? document.querySelectorAll(`[data-head="${headed.dataset.head}"]`) : [];
    for (const same of heads) same.classList.add("hot");
    const node = element?.closest("[data-node]");
    if (!node) return;
    const figure = node.closest("svg");
    figure.classList.add("focus");
    for (const wire of figure.querySelectorAll(".wire")) {
      const touches = wire.dataset.a === node.dataset.node || wire.dataset.b === node.dataset.node;
      wire.classList.toggle("on", touches);
    }
  };
  addEventListener("pointerover", (event) => { mark(event.target); show(event.target, event.clientX, event.clientY); });
  addEventListener("pointermove", (event) => { if (!tip.hidden) place(event.clientX, event.clientY); });
  addEventListener("focusin", (event) => {
    if (!event.target.matches("[tabindex]")) return;
    const box = event.target.getBoundingClientRect();
    mark(event.target);
    show(event.target, box.left + box.width / 2, box.top);
  });
  addEventListener("focusout", () => { tip.hidden = true; mark(null); });
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") { tip.hidden = true; mark(null); } });
  // Checkpoint sliders.
  for (const group of document.querySelectorAll(".frames")) {
    const slider = group.querySelector("input[type=range]");
    const frames = [...group.querySelectorAll(".frame")];
    slider?.addEventListener("input", () => frames.forEach((f, i) => f.classList.toggle("shown", i === +slider.value)));
  }
})();
