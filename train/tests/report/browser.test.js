// The report in headless Chromium: on a desk, on a phone, on paper. `report.rs` makes reports and starts this.

import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { chromium } from "playwright-core";

const reports = (process.env.REPORTS ?? "").split(":").filter(Boolean);
const shots = process.env.REPORT_SHOTS;
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
// 688 px is an A4 page less its margins; text may not become smaller than this, whatever the width.
const WIDTHS = { desk: { width: 1280, height: 900 }, phone: { width: 360, height: 740 }, paper: { width: 688, height: 970 } };
const LETTERS_MIN = { desk: 11, phone: 9, paper: 8.5 };
let browser;

before(async () => {
  assert.ok(reports.length, "started by train/report-test.sh");
  assert.ok(existsSync(executablePath), `${executablePath} is missing: apt-get install chromium`);
  if (shots) mkdirSync(shots, { recursive: true });
  browser = await chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
});

after(() => browser?.close());

/** What is wrong with the plots of a page; runs in it. */
function faults(lettersMin) {
  const found = [];
  const inside = (a, b, slack) => a.left >= b.left - slack && a.right <= b.right + slack && a.top >= b.top - slack && a.bottom <= b.bottom + slack;
  const svgs = [...document.querySelectorAll("svg")];
  for (const svg of svgs) {
    const title = svg.querySelector("title")?.textContent ?? "";
    const say = (what) => found.push(`${title || "a plot without a title"}: ${what}`);
    if (!title || !svg.querySelector("desc")?.textContent) say("says nothing to whom does not see it");
    const names = svg.getAttribute("aria-labelledby").split(" ").map((id) => document.querySelectorAll(`[id="${id}"]`).length);
    if (names.some((count) => count !== 1)) say(`labelled by ids that occur ${names} times`);
    const box = svg.getBoundingClientRect();
    if (box.width < 200 || box.height < 100) say(`is ${box.width} × ${box.height}`);
    const scale = box.width / svg.viewBox.baseVal.width;
    const texts = [...svg.querySelectorAll("text")].map((text) => ({ text: text.textContent, at: text.getBoundingClientRect(), size: parseFloat(getComputedStyle(text).fontSize) * scale }));
    for (const { text, at, size } of texts) {
      if (!inside(at, box, 0.5)) say(`"${text}" is clipped`);
      if (size < lettersMin) say(`"${text}" is ${size.toFixed(1)} px tall`);
    }
    texts.forEach((a, ix) => texts.slice(ix + 1).forEach((b) => {
      // A line of text is taller than its letters: 3 px of that may be shared.
      const [wide, tall] = [Math.min(a.at.right, b.at.right) - Math.max(a.at.left, b.at.left), Math.min(a.at.bottom, b.at.bottom) - Math.max(a.at.top, b.at.top)];
      if (wide > 0.5 && tall > 3.5 * scale) say(`"${a.text}" and "${b.text}" overlap`);
    }));
    const frames = svg.querySelectorAll(".frame");
    if (frames.length !== 1) { say(`has ${frames.length} frames`); continue; }
    const frame = frames[0].getBoundingClientRect();
    if (frame.width < 120 * scale || frame.height < 40 * scale) say(`its frame is ${frame.width} × ${frame.height}`);
    const marks = [...svg.querySelectorAll(".mark")].map((mark) => mark.getBoundingClientRect());
    if (!marks.some((at) => at.width > 1 || at.height > 1)) say("shows nothing");
    // A mark may stand on the frame, half outside.
    if (!marks.every((at) => inside(at, frame, 7 * scale))) say("has a mark outside its frame");
  }
  return { plots: svgs.length, found };
}

for (const file of reports) {
  for (const [where, viewport] of Object.entries(WIDTHS)) {
    test(`${basename(file)} is read on ${where}`, async () => {
      const context = await browser.newContext({ viewport, colorScheme: "light", deviceScaleFactor: where === "phone" ? 2 : 1, offline: false });
      const page = await context.newPage();
      const asked = [], complaints = [];
      page.on("request", (request) => asked.push(request.url()));
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("console", (message) => complaints.push(message.text()));
      if (where === "paper") await page.emulateMedia({ media: "print" });
      const url = pathToFileURL(file).href;
      await page.goto(url);
      const name = `${basename(file, ".html")}-${where}`;
      if (shots) await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
      if (shots && where === "desk") {
        for (const [ix, figure] of (await page.locator("figure").all()).entries()) {
          await figure.screenshot({ path: join(shots, `${name}-${String(ix).padStart(2, "0")}.png`) });
        }
      }
      if (shots && where === "paper") await page.pdf({ path: join(shots, `${name}.pdf`), preferCSSPageSize: true });
      const { plots, found } = await page.evaluate(faults, LETTERS_MIN[where]);
      assert.deepEqual(found, []);
      assert.ok(plots >= 10, `${plots} plots`);
      const { scroll, inner } = await page.evaluate(() => ({ scroll: document.scrollingElement.scrollWidth, inner: innerWidth }));
      assert.ok(scroll <= inner, `the page is ${scroll} px wide on ${inner}`);
      if (where === "paper") {
        const cut = await page.locator(".wide").evaluateAll((all) => all.filter((at) => at.scrollWidth > at.clientWidth + 1).map((at) => `${at.scrollWidth} on ${at.clientWidth}: ${at.innerText.slice(0, 80)}`));
        assert.deepEqual(cut, [], "tables that paper cuts off");
      }
      assert.deepEqual(asked, [url], "nothing leaves the file");
      assert.deepEqual(complaints, []);
      await context.close();
    });
  }
}

test("a fault is found when there is one", async () => {
  const page = await browser.newPage({ viewport: WIDTHS.desk });
  await page.setContent(`<svg viewBox="0 0 480 300" width="480" aria-labelledby="a"><title id="a">t</title><desc>d</desc>
    <rect class="frame" x="60" y="60" width="300" height="200"/><text x="470" y="50">clipped</text><text x="60" y="40">one</text>
    <text x="62" y="42">two</text><text x="60" y="290" font-size="4">small</text><path class="mark" d="M0,0h20v20z"/></svg>`);
  const { found } = await page.evaluate(faults, 9);
  for (const fault of ["clipped", "overlap", "px tall", "outside its frame"]) {
    assert.ok(found.some((said) => said.includes(fault)), `${fault}: ${found}`);
  }
  await page.close();
});
