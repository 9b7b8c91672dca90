// Uses report.html as a reader does, in Chromium without a network, and fails where something is not as it should be.
//
//     npm ci && node report.mjs FOLDER... [--shots DIR]
//
// A folder has report.html and results.json. Checked: no message on the console, no request, every control does
// something, a selected head is marked everywhere, keys work as the pointer does, every figure has its numbers as a
// table, nothing is wider than a phone, texts of the results stay texts, axe finds nothing serious; numbers in cells
// are told from them in light, dark and print (WCAG: 4.5 to 1); in print nothing is closed, cut or longer than a page, but the
// tables of a figure's numbers and of single trials are closed.
import assert from "node:assert/strict";
import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const words = process.argv.slice(2);
const at = words.indexOf("--shots");
const shots = at < 0 ? null : resolve(words.splice(at, 2)[1]);
assert(words.length, "expected folders with report.html");

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // Inside a container there is no user namespace for Chromium's own sandbox.
  args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
});

// A page that may do nothing wrong: what it should not do ends up in `wrong`.
const open = async (folder, options) => {
  const context = await browser.newContext({ offline: true, acceptDownloads: true, ...options });
  const page = await context.newPage();
  const wrong = [];
  const address = pathToFileURL(resolve(folder, "report.html")).href;
  page.on("console", (m) => wrong.push(`console: ${m.text()}`));
  page.on("pageerror", (e) => wrong.push(`error: ${e.stack}`));
  page.on("dialog", (d) => { wrong.push(`dialog: ${d.message()}`); d.dismiss(); });
  page.on("request", (r) => { if (r.url() !== address && !/^(data|blob):/.test(r.url())) wrong.push(`request: ${r.url()}`); });
  await page.goto(address);
  return { page, wrong, close: async () => { assert.deepEqual(wrong, [], basename(folder)); await context.close(); } };
};

const texts = (page, selector) => page.locator(selector).allTextContents();
const marked = (page) => page.locator(".hot").count();

// Saves a file by clicking, and gives its text.
const saved = async (page, button) => {
  const [file] = await Promise.all([page.waitForEvent("download"), button.click()]);
  return readFileSync(await file.path(), "utf8");
};

const figures = async (page) => {
  const all = page.locator("figure:not(.missing)");
  const n = await all.count();
  for (let i = 0; i < n; i++) {
    const figure = all.nth(i);
    const name = await figure.getAttribute("id");
    // A long figure is drawn in parts.
    const drawn = await figure.locator(".plot > svg").all();
    assert(drawn.length >= 1, `${name}: a drawing`);
    for (const svg of drawn) {
      assert((await svg.getAttribute("aria-label")).length > 10, `${name}: a label`);
      assert(!/NaN|undefined|Infinity/.test(await svg.evaluate((s) => s.outerHTML)), `${name}: numbers`);
    }
    assert((await figure.locator("figcaption").innerText()).length > 40, `${name}: a caption`);
    await figure.locator("summary").click();
    await figure.locator("table tbody tr").first().waitFor({ timeout: 5000 });
    assert(!/NaN|undefined/.test(await figure.locator("table").innerText()), `${name}: numbers in its table`);
    await figure.locator("summary").click();
  }
  for (const reason of await texts(page, "figure.missing figcaption")) assert.match(reason, /^Not in this study: .{10,}\.$/);
  return n;
};

const saves = async (page) => {
  const figure = page.locator("figure:not(.missing)").first();
  await figure.locator("summary").click();
  await figure.locator("tbody tr").first().waitFor();
  const csv = await saved(page, figure.getByRole("button", { name: "Save as CSV" }));
  assert.equal(csv.trim().split("\r\n").length, 1 + (await figure.locator("tbody tr").count()));
  const svg = await saved(page, figure.getByRole("button", { name: "Save as SVG" }));
  assert(svg.startsWith("<svg") && svg.includes("xmlns=") && !svg.includes("var(--"), svg.slice(0, 200));
  await figure.locator("summary").click();
  const results = JSON.parse(await saved(page, page.locator("#save-results")));
  assert.equal(results.schema, "thinking-sparks/results");
};

const controls = async (page, results) => {
  const slider = page.locator("#pick-at");
  const most = Number(await slider.getAttribute("max"));
  const circuits = () => texts(page, "[data-figure=circuit] h4");
  const last = await circuits();
  for (let i = 0; i <= most; i++) {
    await slider.fill(String(i));
    assert((await page.locator("#at").innerText()).length > 0);
  }
  assert.deepEqual(await circuits(), last);
  await slider.focus();
  await page.keyboard.press("Home");
  for (const title of await circuits()) assert.match(title, /circuit of base/);
  await page.keyboard.press("End");
  for (const id of ["pick-suite", "pick-rule", "pick-layout"]) {
    const box = page.locator(`#${id}`);
    const values = await box.locator("option").evaluateAll((all) => all.map((o) => o.value));
    for (const value of values.length > 1 ? [...values.slice(1), values[0]] : []) {
      const before = await page.locator("main").innerHTML();
      await box.selectOption(value);
      assert.notEqual(await page.locator("main").innerHTML(), before, `${id} ${value}`);
    }
  }
};

const heads = async (page) => {
  const cell = page.locator("[data-figure=frequency] svg [data-head]").first();
  const head = await cell.getAttribute("data-head");
  assert.equal(await marked(page), 0);
  await cell.click();
  const maps = await page.locator("[data-figure=frequency] figure:not(.missing), [data-figure=effect] figure:not(.missing), [data-figure=methods] figure:not(.missing)").count();
  const cells = await page.locator(`svg [data-head="${head}"].hot`).count();
  assert(cells >= maps, `${head} is marked in ${cells} drawings of ${maps} maps`);
  assert.equal(await page.locator("#head-panel h3").innerText(), head);
  assert((await page.locator("#head-panel tbody tr").count()) >= 1);
  assert.equal(await page.locator("#pick-head").inputValue(), head);
  // Again: the selection ends. Then by the box, by a chip, and by keys.
  await cell.click();
  assert.equal(await marked(page), 0);
  await page.locator("#pick-head").fill(head.toLowerCase());
  await page.locator("#pick-head").press("Enter");
  assert((await marked(page)) > 0);
  await page.locator("#clear").click();
  assert.equal(await marked(page), 0);
  // A head that the model lacks is refused by name, until another is chosen.
  await page.locator("#pick-head").fill("L999H0");
  await page.locator("#pick-head").press("Enter");
  assert.equal(await marked(page), 0);
  assert.match(await page.locator("#no-head").innerText(), /^L999H0 is no head of this model: they are L0H0 to L\d+H\d+$/);
  const chip = page.locator("#heads .chip").first();
  const of = await chip.getAttribute("data-head");
  await chip.click();
  assert.equal(await page.locator("#head-panel h3").innerText(), of);
  assert.equal(await page.locator("#no-head").innerText(), "");
  await page.keyboard.press("Escape");
  assert.equal(await marked(page), 0);
  const stop = page.locator("[data-figure=frequency] svg [tabindex='0']").first();
  await stop.focus();
  const from = await stop.getAttribute("data-head");
  for (const key of ["ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"]) await page.keyboard.press(key);
  assert.equal(await page.evaluate(() => document.activeElement.dataset.head), from, "arrows go round");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  const to = await page.evaluate(() => document.activeElement.dataset.head);
  assert.notEqual(to, from);
  assert.equal(await page.locator("#head-panel h3").innerText(), to);
  assert.match(await page.locator("#said").innerText(), new RegExp(to));
};

// A head in a circuit: its edges in the list and in the drawing.
const edges = async (page) => {
  const rows = page.locator("#edge-list tbody tr");
  const training = page.locator("#edges-training");
  for (const option of await training.locator("option").allTextContents()) {
    await training.selectOption(option);
    assert((await rows.count()) > 0, `${option} has edges`);
  }
  const chip = page.locator("#edge-list tbody .chip").first();
  const head = await chip.getAttribute("data-head");
  await chip.click();
  const more = page.locator("#edge-list > button");
  if (await more.isVisible()) {
    const first = await rows.count();
    await more.click();
    assert((await rows.count()) > first);
  }
  const all = await rows.count();
  await page.locator("#edges-only").check();
  const mine = await rows.count();
  assert(mine >= 1 && mine < all, `${mine} of ${all}`);
  for (const row of await rows.all()) assert((await row.locator(`[data-head="${head}"]`).count()) >= 1);
  await page.locator("#edges-only").uncheck();
  assert((await page.locator("[data-figure=circuit] .wire.hot").count()) > 0);
  for (const name of ["from", "into", "size of score", "score"]) {
    for (const _ of [0, 1]) await page.locator("#edge-list th button", { hasText: new RegExp(`^${name}$`) }).click();
    const sort = await page.locator("#edge-list th[aria-sort]:not([aria-sort=none])").innerText();
    assert.match(sort, new RegExp(`^${name}`));
  }
  const scores = (await texts(page, "#edge-list td:nth-child(4)")).map((t) => Number(t.replace("−", "-")));
  assert.deepEqual(scores, [...scores].sort((a, b) => a - b), "scores ascend");
  if (await more.isVisible()) await more.click();
  const csv = await saved(page, page.locator("#edge-list .row button"));
  assert(csv.startsWith("from,into,score\r\n"));
};

const everyDetail = async (page) => {
  for (const summary of await page.locator("main details:not(.numbers) > summary").all()) {
    const open = () => summary.evaluate((s) => s.parentElement.open);
    const before = await open();
    await summary.click();
    assert.notEqual(await open(), before);
    await summary.click();
  }
};

const use = async (folder) => {
  const results = JSON.parse(readFileSync(join(folder, "results.json"), "utf8"));
  const { page, close } = await open(folder, { viewport: { width: 1280, height: 900 } });
  const n = await figures(page);
  if (results.trainings.length) {
    assert(n >= 10, `${n} figures`);
    await controls(page, results);
    await heads(page);
    await edges(page);
  }
  await saves(page);
  await everyDetail(page);
  const targets = await page.locator('a[href^="#"]').evaluateAll((all) => all.map((a) => a.getAttribute("href").slice(1)));
  for (const id of targets) assert.equal(await page.locator(`[id="${id}"]`).count(), 1, `the target of #${id}`);
  // Texts of the results are texts: nothing of them became an element or ran.
  assert.equal(await page.evaluate(() => globalThis.ran), undefined);
  assert.equal(await page.locator("img, iframe, object, embed, main script").count(), 0);
  // Chromium turns control characters of a title into spaces.
  assert.equal(await page.title(), results.title.replace(/[\u0000-\u0020\u007f]+/g, " ").trim());
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
  const serious = found.violations.filter((v) => ["serious", "critical"].includes(v.impact));
  assert.deepEqual(serious.map((v) => `${v.id}: ${v.help}: ${v.nodes[0].html.slice(0, 200)}`), []);
  await close();
};

// Texts of the drawings whose contrast with what lies below them is less than 4.5 to 1: the cells of a map, mixed over
// the page's ground. Texts with a halo have the ground below them.
const faint = (page) => page.evaluate(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (c) => {
    const [r, g, b] = c.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = rgb(getComputedStyle(document.documentElement).backgroundColor);
  const found = [];
  for (const svg of document.querySelectorAll(".plot > svg")) {
    const cells = [...svg.querySelectorAll("rect")].map((node) => ({ node, box: node.getBoundingClientRect(), style: getComputedStyle(node) }));
    for (const text of svg.querySelectorAll("text")) {
      const style = getComputedStyle(text);
      if (!text.textContent.trim() || text.closest("[aria-label=tip]")) continue;
      const box = text.getBoundingClientRect();
      const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
      const below = cells.filter((c) => c.box.left <= x && x <= c.box.right && c.box.top <= y && y <= c.box.bottom && c.style.fill !== "none" && !/^rgba\(.*, 0\)$|transparent/.test(c.style.fill));
      const mixed = below.reduce((under, { style }) => {
        const [over, opacity] = [rgb(style.fill), Number(style.fillOpacity)];
        return under.map((v, i) => opacity * over[i] + (1 - opacity) * v);
      }, ground);
      const [a, b] = [luminance(rgb(style.fill)), luminance(mixed)].sort((p, q) => q - p);
      const ratio = (a + 0.05) / (b + 0.05);
      if (ratio < 4.5) found.push(`${svg.closest("figure").id}: “${text.textContent}” ${style.fill} on ${mixed.map(Math.round)}: ${ratio.toFixed(2)}`);
    }
  }
  return found;
});

// What print would lose: closed details, drawings longer or wider than a page, columns of tables beyond its edge.
const lost = (page) => page.evaluate(() => {
  const [width, height] = [innerWidth, (innerWidth * 269) / 186];
  const shown = (node) => node.checkVisibility({ contentVisibilityAuto: true }) && node.getBoundingClientRect().height > 0;
  const name = (node) => `${node.tagName} in ${node.closest("[id]")?.id}: ${node.textContent.slice(0, 40)}`;
  const closed = [...document.querySelectorAll("details:not(.numbers):not(.trials) > :not(summary)")].filter((node) => !shown(node));
  const long = [...document.querySelectorAll("figure:not(.missing) .plot > svg")].filter((node) => !shown(node) || node.getBoundingClientRect().height > height);
  const cut = [...document.querySelectorAll(".plot > svg, table")].filter((node) => shown(node) && node.getBoundingClientRect().right > width + 1);
  const drawn = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    return [...range.getClientRects()].some((box) => box.height > 0);
  };
  const empty = [...document.querySelectorAll("td > *, th > *")].filter((node) => node.textContent.trim() && node.closest("table").checkVisibility() && !drawn(node));
  return [closed.map((n) => `closed ${name(n)}`), long.map((n) => `longer than a page: ${name(n)}`), cut.map((n) => `cut ${name(n)}`), empty.map((n) => `hidden ${name(n)}`)].flat();
});

const looks = {
  wide: { viewport: { width: 1280, height: 900 } },
  narrow: { viewport: { width: 390, height: 844 }, hasTouch: true },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
  print: { viewport: { width: 703, height: 1017 } },
};
const look = async (folder, name) => {
  const { page, close } = await open(folder, looks[name]);
  if (name === "print") await page.emulateMedia({ media: "print" });
  const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert(wide[0] <= wide[1], `${name}: ${wide[0]} pixels wide in ${wide[1]}`);
  const paper = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = Number(/\d+/.exec(paper)[0]) > 128;
  assert.equal(light, name !== "dark", `${name}: the ground is ${paper}`);
  assert.deepEqual(await faint(page), [], name);
  if (name === "print") assert.deepEqual(await lost(page), []);
  if (shots) {
    mkdirSync(shots, { recursive: true });
    await page.screenshot({ path: join(shots, `${basename(resolve(folder))}-${name}.png`), fullPage: true });
  }
  await close();
};

for (const folder of words) {
  await use(folder);
  for (const name of Object.keys(looks)) await look(folder, name);
  console.log(`${folder}: as it should be`);
}
await browser.close();
