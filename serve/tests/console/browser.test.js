// The console in headless Chromium, as the operator's people use it. `browser.rs` serves it and starts this.

import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

const origin = process.env.CONSOLE;
const shots = process.env.CONSOLE_SHOTS;
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const people = {};
const complaints = [];
const elsewhere = [];
let browser;

before(async () => {
  assert.ok(origin, "started by serve/console-test.sh");
  assert.ok(existsSync(executablePath), `${executablePath} is missing: apt-get install chromium`);
  if (shots) mkdirSync(shots, { recursive: true });
  browser = await chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
});

after(() => browser?.close());

const shoot = async (page, name) => shots && page.screenshot({ path: join(shots, `${name}.png`), fullPage: !name.endsWith("docs") });

/** A browser of somebody's own. What it asks of anybody else, and what it complains of, is remembered. */
async function visitor(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light", ...options });
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(`${page.url()}: ${message.text()}`));
  page.on("request", (request) => request.url().startsWith(`${origin}/`) || request.url() === "data:," || elsewhere.push(request.url()));
  return page;
}

async function signedIn(name, options) {
  const page = await visitor(options);
  await page.goto(`${origin}/console`);
  await page.getByLabel("Your token").fill(process.env[`TOKEN_${name.toUpperCase()}`]);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
  return page;
}

const person = async (name) => (people[name] ??= await signedIn(name));
const focused = (page) => page.evaluate(() => (document.activeElement.innerText || document.activeElement.value || document.activeElement.id || document.activeElement.tagName).trim());

/** Presses Tab until what has the focus reads like this; gives up after a whole page. */
async function tabTo(page, text) {
  const seen = [];
  for (let presses = 0; presses < 120; presses++) {
    await page.keyboard.press("Tab");
    seen.push(await focused(page));
    if (seen.at(-1).startsWith(text)) return presses + 1;
  }
  assert.fail(`Tab never came to ${JSON.stringify(text)}: ${seen.join(" | ")}`);
}

test("a wrong token is told apart from a right one", async () => {
  const page = await visitor();
  await page.goto(`${origin}/console/accounts/amina`);
  assert.match(page.url(), /\/console\/sign-in\?next=/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "token", "one can type at once");
  await page.keyboard.type("nonsense");
  await page.getByRole("button", { name: "Sign in" }).click();
  assert.match(await page.getByRole("alert").innerText(), /does not count here/);
  await shoot(page, "sign-in-wrong");
  complaints.splice(0, complaints.length, ...complaints.filter((complaint) => !complaint.includes("401")));
  await page.getByLabel("Your token").fill(process.env.TOKEN_SUE);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "amina", level: 1 }).waitFor();
  assert.equal(await page.evaluate(() => document.cookie), "", "no script could read the session");
});

test("support finds an account and reads why its limit is what it is", async () => {
  const page = await person("sue");
  await shoot(page, "overview");
  await page.getByRole("link", { name: "Accounts" }).click();
  await page.getByLabel("Name begins with").fill("merchant-0");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "merchant-000" }).waitFor();
  await shoot(page, "accounts");
  assert.equal(await page.locator("tbody tr").count(), 25);
  await page.getByRole("link", { name: "Next page" }).click();
  await page.getByRole("link", { name: "merchant-039" }).waitFor();
  await page.getByLabel("Name begins with").fill("am");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("link", { name: "amina" }).click();
  await page.getByRole("heading", { name: "amina", level: 1 }).waitFor();
  assert.match(await page.locator(".figures").innerText(), /MYR\s\d/);
  const line = await page.locator(".chart .area").first().boundingBox();
  assert.ok(line.width > 200 && line.height > 100, `the curve is drawn: ${JSON.stringify(line)}`);
  await page.getByText("The limit at every certified age").click();
  assert.ok(await page.locator("section:has(#limit) tbody tr").count() > 2);
  assert.match(await page.locator("section:has(#disputes)").innerText(), /I was asleep <script>alert\(1\)<\/script>/);
  assert.equal(await page.getByText("Propose another tier").count(), 0, "support proposes nothing");
  await shoot(page, "account");
});

test("an account is walked and a device revoked by keyboard alone", async () => {
  const page = await person("sue");
  await page.goto(`${origin}/console`);
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Skip to the page");
  assert.ok((await page.locator(".skip").boundingBox()).y >= 0, "what has the focus is seen");
  await tabTo(page, "Accounts");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/console/accounts");
  assert.equal(await page.evaluate(() => document.activeElement.id), "starts");
  await page.keyboard.type("shop");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/accounts?starts=shop");
  await page.getByRole("link", { name: "shop" }).waitFor();
  await tabTo(page, "shop");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "shop", level: 1 }).waitFor();
  const order = [await tabTo(page, "Audit log"), await tabTo(page, "The limit at every"), await tabTo(page, "The newest"), await tabTo(page, "Revoke")];
  assert.ok(order.every((presses) => presses <= 4 || presses === order[0]), `in reading order: ${order}`);
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, "solid", "the focus is seen");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.type("dropped in the river");
  await page.keyboard.press("Enter");
  await page.getByRole("status").waitFor();
  assert.match(await page.getByRole("status").innerText(), /The device is revoked/);
  assert.match(await page.locator("section:has(#devices)").innerText(), /revoked 20\d\d-/);
  await page.getByRole("link", { name: "Audit log" }).click();
  await page.locator("summary", { hasText: "device" }).first().click();
  assert.match(await page.locator("pre").first().innerText(), /dropped in the river/);
  await shoot(page, "log");
});

test("a tier is changed by two people, and not by one", async () => {
  const asha = await person("asha");
  await asha.goto(`${origin}/console/accounts/amina`);
  await asha.getByText("Propose another tier").click();
  await asha.getByLabel("New tier").selectOption("1");
  await asha.getByLabel("Reason, for the log").first().fill("papers ran out");
  await shoot(asha, "account-propose");
  await asha.getByRole("button", { name: "Propose" }).click();
  assert.match(await asha.getByRole("status").innerText(), /Somebody else has to confirm it/);
  assert.equal(await asha.getByRole("button", { name: "Confirm tier 1" }).count(), 0, "not by the one who proposed it");

  // Who has no button and sends the form all the same is refused too.
  const refused = async (page) => page.evaluate(async () => {
    const fields = new URLSearchParams(new FormData(document.querySelector("form[action$='/sign-out']")));
    const at = document.querySelector("input[name=at]")?.value ?? "0";
    const sent = new URLSearchParams({ csrf: fields.get("csrf"), tier: "1", at });
    const form = Object.assign(document.createElement("form"), { method: "post", action: "/console/accounts/amina/confirm" });
    for (const [name, value] of sent) form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    document.body.append(form);
    form.submit();
  });
  await refused(asha);
  await asha.getByRole("heading", { name: "Not allowed" }).waitFor();
  assert.match(await asha.getByRole("alert").innerText(), /may not confirm it/);
  await shoot(asha, "refused");
  const sue = await person("sue");
  await sue.goto(`${origin}/console/accounts/amina`);
  assert.equal(await sue.getByRole("button", { name: "Confirm tier 1" }).count(), 0, "not by support");
  await refused(sue);
  await sue.getByRole("heading", { name: "Not allowed" }).waitFor();
  assert.match(await sue.getByRole("alert").innerText(), /needs the role risk/);
  complaints.splice(0, complaints.length, ...complaints.filter((complaint) => !complaint.includes("403")));

  const ben = await person("ben");
  await ben.goto(`${origin}/console`);
  await ben.getByRole("link", { name: "amina", exact: true }).click();
  await shoot(ben, "account-confirm");
  await ben.getByRole("button", { name: "Confirm tier 1" }).click();
  assert.match(await ben.getByRole("status").innerText(), /The tier is changed/);
  assert.match(await ben.locator(".head").innerText(), /Tier 1/);
});

test("risk closes a dispute", async () => {
  const page = await person("asha");
  await page.goto(`${origin}/console`);
  await page.getByRole("link", { name: "amina paid shop" }).click();
  await page.getByText("Resolve", { exact: false }).first().click();
  await page.getByLabel("The payee's, shop").check();
  await page.getByRole("button", { name: "Close the dispute" }).click();
  assert.match(await page.getByRole("status").innerText(), /dispute is closed/);
  assert.match(await page.locator("section:has(#payments)").innerText(), /payee at fault/);
});

test("a form without its token is refused", async () => {
  const page = await person("ben");
  await page.goto(`${origin}/console/accounts/amina`);
  await page.evaluate(() => document.querySelectorAll("input[name=csrf]").forEach((input) => input.remove()));
  await page.getByText("Enter a signal").click();
  await page.getByRole("button", { name: "Enter the signal" }).click();
  await page.getByRole("heading", { name: "Not allowed" }).waitFor();
  complaints.splice(0, complaints.length, ...complaints.filter((complaint) => !complaint.includes("403")));
  await page.goto(`${origin}/console/accounts/amina`);
  assert.match(await page.locator("section:has(#standing)").innerText(), /No signal speaks against it/);
});

test("an admin sees the models and what they promise; a viewer sees no accounts", async () => {
  const ada = await person("ada");
  await ada.getByRole("link", { name: "Models" }).click();
  await ada.getByText("decides for everyone").waitFor();
  await ada.getByText("Pull back", { exact: false }).first().click();
  assert.ok(await ada.getByRole("button", { name: "Pull back for good" }).isVisible());
  await shoot(ada, "models");
  const vic = await person("vic");
  await vic.goto(`${origin}/console`);
  assert.equal(await vic.getByRole("link", { name: "Accounts" }).count(), 0);
  assert.doesNotMatch(await vic.locator("body").innerText(), /amina/);
});

test("every page reads on a phone, in the dark too, and says what is what", async () => {
  for (const [scheme, width] of [["light", 390], ["dark", 390], ["dark", 1280]]) {
    const page = await signedIn("asha", { viewport: { width, height: 844 }, colorScheme: scheme });
    for (const path of ["/console", "/console/accounts", "/console/accounts/amina", "/console/accounts/amina/log", "/console/models", "/console/log", "/docs", "/console/sign-in"]) {
      await page.goto(origin + path);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${path} is ${wide} pixels wide on ${width}`);
      const faults = await page.evaluate(inspect);
      assert.deepEqual(faults, [], `${path}, ${scheme}`);
      await shoot(page, `${scheme}-${width}${path.replaceAll("/", "-")}`);
    }
    await page.context().close();
  }
});

/** In the page: what somebody who cannot see it, or sees little, would miss. */
function inspect() {
  const faults = [];
  const seen = (element) => element.checkVisibility() && !element.closest(".hidden");
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (!field.labels?.length) faults.push(`no label: ${field.outerHTML}`);
  }
  for (const target of document.querySelectorAll("a, button, summary")) {
    if (!target.textContent.trim()) faults.push(`no name: ${target.outerHTML}`);
    if (target.matches("button, summary, nav a") && seen(target) && target.getBoundingClientRect().height < 24) faults.push(`too small to hit: ${target.outerHTML}`);
  }
  if (document.querySelectorAll("main").length !== 1 || document.querySelectorAll("h1").length !== 1) faults.push("one main and one h1");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size !== ids.length) faults.push(`an id twice: ${ids.filter((id, n) => ids.indexOf(id) !== n)}`);
  for (const holder of document.querySelectorAll("[aria-labelledby]")) {
    if (!document.getElementById(holder.getAttribute("aria-labelledby"))) faults.push(`labelled by nothing: ${holder.getAttribute("aria-labelledby")}`);
  }
  const channels = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || !seen(element) || element.closest("svg")) continue;
    const [a, b] = [light(channels(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) faults.push(`contrast ${contrast.toFixed(2)}: ${node.textContent.trim().slice(0, 40)}`);
  }
  return [...new Set(faults)];
}

test("who signs out is out", async () => {
  const page = await person("vic");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await page.goto(`${origin}/console`);
  assert.match(page.url(), /sign-in/);
});

test("nothing was fetched from elsewhere, and no page complained", () => {
  assert.deepEqual(elsewhere, []);
  assert.deepEqual(complaints, []);
});
