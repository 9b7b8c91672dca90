// What the selected head attends to on the example's own tokens: choose a token, and the tokens that it sees are
// shaded by the attention that they get.

const shown_tokens = { from: undefined };
const attentionOf = (head) => {
  const roles = results.roles.filter((r) => r.suite === state.suite);
  if (!roles.length) return [make("p", { class: "facts" }, "Not in this study: what the heads attend to was not measured.")];
  const labels = [...new Set(trainings.map((t) => (placeOf(stepsOf(t), state) < 0 ? "base" : stepsOf(t)[placeOf(stepsOf(t), state)].label)))];
  const measured = labels.map((label) => roles.find((r) => r.checkpoint === label)).filter(Boolean);
  const words = measured.map((r) => {
    const one = r.heads.find((h) => h.head === head);
    return [r.checkpoint, one.role ? ROLES[one.role] : "none", ...one.attended.map((a) => percent(a.share)), number(one.scores.copying), number(one.scores.matching)];
  });
  const relations = roles[0].heads[0].attended;
  const of = measured.find((r) => r.example) ?? [...roles].reverse().find((r) => r.example);
  return [
    make("h4", {}, "What it attends to"),
    make("div", { class: "wide", tabindex: "0" }, tableOf(["checkpoint", "role", ...relations.map((a) => ROLES[a.relation]), "OV copying", "QK matching"], words)),
    make("p", { class: "facts" }, `Shares of attention, mean over the clean prompts of ${state.suite}; equal attention to every visible token would give ${roles[0].heads[0].attended.map((a) => `${ROLES[a.relation]} ${percent(a.equal)}`).join(", ")}. OV copying: 1 where the head raises the logit of what it attends to, −1 where it lowers it; QK matching: 1 where it attends to its own token.`),
    ...(of ? tokensOf(head, of) : []),
  ];
};

const tokensOf = (head, of) => {
  const { tokens, heads } = of.example;
  const rows = heads.find((h) => h.head === head)?.rows;
  if (!rows) return [make("p", { class: "facts" }, `${head} is in no circuit of ${of.checkpoint} or the base: its attention on the example was not kept.`)];
  const place = make("div", { class: "tokens", role: "group", "aria-label": `attention of ${head} in ${of.checkpoint} on a prompt` });
  const said = make("p", { class: "facts", role: "status" });
  const show = (from) => {
    shown_tokens.from = from;
    const row = rows[from];
    [...place.children].forEach((token, i) => {
      const weight = i <= from ? row[i] / 1000 : 0;
      token.className = `token w${Math.round(10 * weight)}${i > from ? " later" : ""}`;
      token.setAttribute("aria-pressed", String(i === from));
    });
    const most = d3.range(from + 1).sort((a, b) => row[b] - row[a]).slice(0, 3);
    said.textContent = `${of.checkpoint}: from token ${from + 1}, “${tokens[from]}”, ${head} attends to ${most.map((i) => `“${tokens[i]}” (${i + 1}) ${percent(row[i] / 1000)}`).join(", ")}.`;
  };
  place.append(...tokens.map((text, i) => make("button", { type: "button", on: { click: () => show(i), mouseenter: () => show(i) } }, text.replaceAll("\n", "⏎") || "∅")));
  show(Math.min(shown_tokens.from ?? tokens.length - 1, tokens.length - 1));
  return [make("p", { class: "facts" }, `The clean prompt ${of.example.pair} in ${of.checkpoint}. Choose the token that attends; darker: more attention.`), place, said];
};
