// The demo page in headless Chromium, as a person would use it: verify, tamper, ask, pay; also with the network cut.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

import { built, fixtures } from "./published.js";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const shots = join(built, "screenshots");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".wasm": "application/wasm" };
let server, browser, page, context, origin;
const asked = [];
const complaints = [];

before(async () => {
  assert.ok(existsSync(executablePath), `${executablePath} is missing: apt-get install chromium`);
  mkdirSync(shots, { recursive: true });
  server = createServer((request, response) => {
    asked.push(request.url);
    const path = join(built, "demo", normalize(decodeURIComponent(request.url.replace(/[?#].*/, "").replace(/\/$/, "/index.html"))));
    if (!existsSync(path)) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(readFileSync(path));
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  origin = `http://127.0.0.1:${server.address().port}/`;
  browser = await chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  context = await browser.newContext({ viewport: { width: 1280, height: 1000 }, colorScheme: "light" });
  page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(origin);
  await page.waitForSelector("html[data-ready]");
});

after(async () => {
  await browser?.close();
  server?.close();
});

const text = (selector) => page.locator(selector).innerText();
const verdict = () => page.locator("#verdict").getAttribute("data-state");

test("the published sample verifies, and says what it is", async () => {
  assert.equal(await verdict(), "good", await text("#verdict"));
  assert.match(await text("#facts"), /tng-fixture v2/);
  assert.equal(await page.locator("#certificate tbody tr").count(), 3);
  assert.equal(await page.locator("#chain li").count(), 7);
});

test("golden vectors in the page are Rust's, bit for bit", async () => {
  await page.click("#golden");
  assert.match(await text("#golden-result"), /^8 of 8 histories, 56 limits: the same bits as Rust$/);
});

test("the limit follows tier, balance, account and age", async () => {
  const limit = async () => Number((await text("#limit")).replace(/[^0-9.]/g, ""));
  const put = (selector, value) => page.locator(selector).fill(String(value));
  const tier = (level) => page.locator(`[name=tier][value="${level}"]`).check();
  await tier(2);
  await put("#balance", 800);
  const much = await limit();
  assert.ok(much > 0, `${much}`);
  await tier(0);
  assert.equal(await limit(), Math.min(50, much), "RM 50 for tier 0");
  assert.match(await text("#why"), /cap of this KYC tier/);
  await put("#balance", 0);
  assert.equal(await limit(), 0);
  await put("#balance", 800);
  await put("#age", 73);
  assert.equal(await limit(), 0);
  assert.match(await text("#why"), /too long ago/);
  await put("#age", 24);
  await tier(2);
  await page.locator("[name=profile][value=salaried]").check();
  assert.notEqual(await limit(), much);
  await page.locator("[name=profile][value=student]").check();
  assert.equal(await page.locator("#curve tbody tr").count(), 7);
  const box = await page.locator("#chart .limit").boundingBox();
  assert.ok(box.width > 200 && box.height > 100, `the curve is drawn: ${JSON.stringify(box)}`);
});

test("the account can be chosen with the keyboard alone", async () => {
  await page.locator("[name=profile][value=student]").focus();
  await page.keyboard.press("ArrowRight");
  assert.ok(await page.locator("[name=profile][value=gig]").isChecked());
  await page.keyboard.press("ArrowLeft");
  await page.locator("#balance").focus();
  const before = await text("#balance-text");
  await page.keyboard.press("ArrowRight");
  assert.notEqual(await text("#balance-text"), before);
});

test("one flipped bit is refused, whichever file it is in", async () => {
  const seen = new Set();
  for (let turn = 0; turn < 7; turn++) {
    await page.click("#tamper");
    assert.equal(await verdict(), "bad", await text("#verdict"));
    seen.add((await text("#verdict")).match(/of (\S+) was changed/)[1]);
  }
  assert.equal(seen.size, 7, [...seen].join());
  await page.screenshot({ path: join(shots, "tampered.png"), fullPage: true });
  await page.click("#sample");
  assert.equal(await verdict(), "good");
});

test("a clock after every expiry is refused", async () => {
  await page.locator("#clock").fill("2030-01-01T00:00");
  await page.locator("#clock").blur();
  assert.match(await text("#verdict"), /Refused: expired/);
  await page.click("#sample");
});

test("a repository chosen as files verifies too, and a part of one does not", async () => {
  await page.locator("#files").setInputFiles(join(fixtures, "published/first"));
  await page.waitForFunction(() => document.querySelector("#facts").innerText.includes("tng-fixture v1"));
  assert.equal(await verdict(), "good");
  await page.locator("#files").setInputFiles(join(fixtures, "published/first/targets"));
  await page.waitForSelector("#verdict[data-state=bad]");
  await page.click("#sample");
  assert.equal(await verdict(), "good");
});

test("the wallet accepts its grant, pays, asks for a fingerprint, and declines", async () => {
  const pay = async (amount, proved) => {
    await page.locator("#amount").fill(amount);
    await page.locator("#proved").setChecked(proved);
    await page.click("#pay-now");
    return page.locator("#payments li").first().getAttribute("data-decision");
  };
  assert.ok(await page.locator("#pay-now").isDisabled());
  await page.click("#accept");
  assert.match(await text("#wallet-state"), /RM 150.00 left/);
  assert.equal(await pay("4.50", false), "approve");
  assert.match(await text("#wallet-state"), /RM 145.50 left/);
  assert.equal(await pay("20.00", false), "step_up");
  assert.equal(await pay("20.00", true), "approve");
  assert.equal(await pay("51.00", true), "decline");
  assert.match(await text("#wallet-state"), /RM 125.50 left/);
  assert.equal(await page.locator("#payments li").count(), 4);
});

test("with the network cut everything still works, and the page opens again", async () => {
  await page.waitForSelector("html[data-kept]");
  const before = asked.length;
  await context.setOffline(true);
  await page.click("#golden");
  assert.match(await text("#golden-result"), /the same bits as Rust/);
  await page.click("#tamper");
  assert.equal(await verdict(), "bad");
  await page.click("#sample");
  assert.equal(await text("#network"), "network cut");
  await new Promise((closed) => { server.closeAllConnections(); server.close(closed); });
  await page.reload();
  await page.waitForSelector("html[data-ready]");
  assert.equal(await verdict(), "good", "from what was kept, verified again");
  assert.equal(asked.length, before, "nothing was asked of the server");
  await page.click("#accept");
  await page.click("#pay-now");
  await page.screenshot({ path: join(shots, "desktop.png"), fullPage: true });
});

test("on a phone nothing is wider than the screen", async () => {
  await page.setViewportSize({ width: 360, height: 740 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 360, `${wide} pixels`);
  await page.screenshot({ path: join(shots, "phone.png"), fullPage: true });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: join(shots, "phone-dark.png"), fullPage: true });
});

test("the page complained of nothing", () => {
  assert.deepEqual(complaints.filter((complaint) => !/ERR_INTERNET_DISCONNECTED|ERR_CONNECTION/.test(complaint)), []);
});
