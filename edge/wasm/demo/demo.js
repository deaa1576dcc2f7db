// The page: fetches the files once, then everything happens here. Every answer comes from plimsoll.wasm.

import { Plimsoll, Refused } from "./plimsoll.js";
import { draw } from "./chart.js";
import { goldenAnswers, questionOf } from "./golden.js";
import { PROFILES, history } from "./histories.js";

const $ = (id) => document.getElementById(id);
const SHELL = ["./", "demo.css", "demo.js", "chart.js", "golden.js", "histories.js", "plimsoll.js", "plimsoll.wasm", "device.json",
  "repository.json"];

const page = {
  plimsoll: undefined,
  /** What is looked at: { files: Map, root: Uint8Array, name }. */
  repository: undefined,
  sample: undefined,
  evaluator: undefined,
  /** Which file is tampered with next. */
  turn: 0,
};

/** Minor units as text, in the model's currency. */
function money(minor) {
  const [code, decimals] = (page.evaluator?.opened.release.manifest.currency ?? "MYR/2").split("/");
  const symbol = { MYR: "RM", NGN: "₦", IDR: "Rp" }[code] ?? code;
  const major = minor / 10 ** decimals;
  return `${symbol} ${major.toLocaleString("en", { minimumFractionDigits: +decimals, maximumFractionDigits: +decimals })}`;
}
const day = (seconds) => new Date(seconds * 1_000).toISOString().slice(0, 10);
const percent = (ppm) => `${(ppm / 10_000).toLocaleString("en", { maximumFractionDigits: 3 })} %`;
const since = (minutes) => (minutes === 0 ? "at the sync" : minutes % 60 ? `${minutes} min` : `${minutes / 60} h`);

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

async function bytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

// 1. The repository

async function fetchSample() {
  const list = JSON.parse(new TextDecoder().decode(await bytes("repository.json")));
  const files = await Promise.all(list.files.map(async (path) => [path.replace(/^repository\//, ""), await bytes(path)]));
  return { files: new Map(files), root: await bytes(list.root), name: "the published sample" };
}

/** A repository among chosen or dropped files: whatever lies beside `metadata/` and `targets/`, and a root. */
async function fromFiles(chosen) {
  const files = new Map();
  let root;
  for (const { path, file } of chosen) {
    const inside = path.match(/(?:^|\/)((?:metadata|targets)\/.*)$/);
    const read = new Uint8Array(await file.arrayBuffer());
    if (inside) files.set(inside[1], read);
    else if (/(^|\/)root\.json$/.test(path)) root = read;
  }
  // Without a pinned root of its own, the first one of the repository: it proves that the files belong together, no more.
  root ??= files.get("metadata/1.root.json");
  if (!root) throw new Error("no metadata/1.root.json and no root.json among these files");
  return { files, root, name: `${files.size} chosen files` };
}

function clock() {
  return Math.floor(Date.parse(`${$("clock").value}Z`) / 1_000);
}

function setClock(seconds) {
  $("clock").value = new Date(seconds * 1_000).toISOString().slice(0, 16);
}

/** When the newest timestamp was signed, as it says itself; the engine believes it only when the signature is good. */
function signedAt({ files }) {
  try {
    return JSON.parse(new TextDecoder().decode(files.get("metadata/timestamp.json"))).signed["x-plimsoll-signed-at"];
  } catch {
    return undefined;
  }
}

function show(repository) {
  page.repository = repository;
  setClock((signedAt(repository) ?? Math.floor(Date.now() / 1_000)) + 60);
  verify(repository);
}

/** Verifies, and shows what came of it. What was verified before goes on being used. */
function verify({ files, root, name }) {
  const began = performance.now();
  let evaluator;
  try {
    evaluator = page.plimsoll.open({ files, root, now: clock() });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    verdict("bad", `Refused: ${error.code.replaceAll("_", " ")}`, `${error.message}. ${page.evaluator ? "What was verified before goes on being used." : "Nothing in it was used."}`);
    $("chain").replaceChildren();
    return;
  }
  page.evaluator?.free();
  page.evaluator = evaluator;
  const took = (performance.now() - began).toFixed(0);
  const total = [...files.values()].reduce((sum, file) => sum + file.length, 0);
  verdict("good", "Verified", `${name}: ${files.size} files, ${(total / 1_024).toFixed(0)} KiB, in ${took} ms`);
  const parts = ["root", "timestamp", "snapshot", "targets", "model", "policy", "golden vectors"];
  $("chain").replaceChildren(...parts.map((part) => element("li", part)));
  showFacts(evaluator.opened);
  $("golden-result").textContent = "";
  ask();
}

function verdict(state, title, text) {
  $("verdict").dataset.state = state;
  $("verdict-title").textContent = title;
  // A whole SHA-256 in a path says no more to a person than its beginning.
  $("verdict-text").textContent = text.replace(/[0-9a-f]{64}/g, (hash) => `${hash.slice(0, 8)}…`);
}

function showFacts({ release: { manifest, certificate }, model_sha256, install_until, policy }) {
  const facts = [
    ["Model", `${manifest.model_id} v${manifest.model_version}`],
    ["Programme", `${manifest.programme}, ${manifest.currency.split("/")[0]}`],
    ["Issued", day(manifest.issued_at)],
    ["May be used until", day(manifest.use_not_after)],
    ["Metadata good until", day(install_until)],
    ["SHA-256", `${model_sha256.slice(0, 12)}…`],
  ];
  $("facts").replaceChildren(...facts.map(([term, value]) => {
    const fact = element("div", "");
    fact.append(element("dt", term), element("dd", value));
    return fact;
  }));
  const promise = `at most ${percent(certificate.alpha)} of windows over the limit, ${percent(1_000_000 - certificate.delta)} sure`;
  $("certificate").tBodies[0].replaceChildren(...certificate.cells.map((cell) => {
    const row = element("tr", "");
    const seen = cell.test ? `${percent(cell.test.violation_ppm)} of ${cell.test.windows.toLocaleString("en")} windows` : "–";
    row.append(
      element("th", String(cell.tier), { scope: "row" }),
      element("td", cell.basis),
      element("td", cell.basis === "certified" ? promise : cell.basis === "borrowed" ? "none of its own: the safer of its neighbours" : "none"),
      element("td", `${cell.accounts.toLocaleString("en")} accounts, ${cell.windows.toLocaleString("en")} windows`),
      element("td", seen),
    );
    return row;
  }));
  const chosen = Number(document.querySelector("[name=tier]:checked")?.value ?? 1);
  choices("tiers", "tier", policy.tiers.map(({ tier, per_payment }) =>
    [tier, `Tier ${tier}`, per_payment === null ? "" : `${money(per_payment).replace(/\.00$/, "")} a payment`]),
    policy.tiers.some(({ tier }) => tier === chosen) ? chosen : policy.tiers[0].tier);
}

/** One bit of one file, another file each time; the engine has to notice. */
function tamper() {
  const { files, root, name } = page.repository;
  const current = currentFiles(files);
  const path = current[page.turn++ % current.length];
  const flipped = files.get(path).slice();
  const place = Math.floor(flipped.length / 2);
  flipped[place] ^= 1;
  verify({ files: new Map(files).set(path, flipped), root, name });
  verdict($("verdict").dataset.state, $("verdict-title").textContent, `Byte ${place} of ${path} was changed: ${$("verdict-text").textContent}`);
}

/** The files a device fetches. Those of an earlier release it does not, so it could not notice a change there. */
function currentFiles(files) {
  const newest = (role) => [...files.keys()].filter((path) => path.endsWith(`.${role}.json`) && path.startsWith("metadata/"))
    .sort((a, b) => parseInt(b.slice(9)) - parseInt(a.slice(9)))[0];
  const targets = newest("targets");
  let hashes = [];
  try {
    const signed = JSON.parse(new TextDecoder().decode(files.get(targets))).signed;
    hashes = Object.values(signed.targets).map((target) => target.hashes.sha256);
  } catch { /* no readable targets: only metadata is left to change */ }
  return [...files.keys()].filter((path) => path === "metadata/timestamp.json" || path === newest("root") || path === newest("snapshot")
    || path === targets || hashes.some((hash) => path.includes(hash)));
}

function runGolden() {
  const { evaluator, repository: { files } } = page;
  const path = [...files.keys()].find((path) => path.includes(evaluator.opened.release.manifest.golden_sha256));
  const { cases } = JSON.parse(new TextDecoder().decode(files.get(path)));
  const text = (value) => JSON.stringify(goldenAnswers(value));
  const equal = cases.filter((one) => text(evaluator.evaluate(questionOf(one))) === text(one)).length;
  const limits = cases.reduce((sum, one) => sum + one.outputs.length, 0);
  $("golden-result").textContent = `${equal} of ${cases.length} histories, ${limits} limits: `
    + (equal === cases.length ? "the same bits as Rust" : "different");
}

// 2. The limit

function choices(id, name, options, chosen) {
  $(id).replaceChildren(...options.map(([value, text, about]) => {
    const label = element("label", text);
    const input = element("input", "", { type: "radio", name, value });
    input.checked = value === chosen;
    label.append(input, element("small", about));
    return label;
  }));
}

function ask() {
  if (!page.evaluator) return;
  const { release: { manifest }, policy } = page.evaluator.opened;
  const minorPerMajor = 10 ** manifest.currency.split("/")[1];
  const chosen = (name) => document.querySelector(`[name=${name}]:checked`).value;
  const tier = Number(chosen("tier"));
  const balance = $("balance").value * minorPerMajor;
  const hours = Number($("age").value);
  const at = clock();
  const question = {
    history: history({
      profile: chosen("profile"), tier, balance, at, currency: manifest.currency, offset: policy.utc_offset_min, minorPerMajor,
    }),
    situation: {
      balance, tier, synced_at: at, pending: 0, spent_24h: 0, spent_day: 0, spent_week: 0, lifetime_tx: 2_000, manual_wallet: 0,
      new_device: false, fraud_ppm: 0,
    },
    now: at + hours * 3_600,
  };
  const began = performance.now();
  const answer = page.evaluator.evaluate(question);
  $("took").textContent = `${(performance.now() - began).toFixed(1)} ms`;
  $("balance-text").textContent = money(balance);
  $("age-text").textContent = since(hours * 60);
  $("limit").textContent = money(answer.decision.limit);
  $("why").textContent = answer.decision.limit > 0
    ? `${answer.says}; at most ${money(answer.decision.per_payment)} in one payment.`
    : `${answer.says}.`;
  const rules = policy.tiers.find((rules) => rules.tier === tier);
  const caps = [rules.rolling_24h, rules.day, rules.week, rules.outstanding].filter((cap) => cap !== null);
  draw($("chart"), {
    points: answer.curve.map(({ age, certified, decision }) => ({ hours: age / 60, certified, limit: decision.limit })),
    cap: Math.min(...caps, Infinity),
    now: hours,
    hoursMax: Number($("age").max),
    money,
  });
  $("curve").tBodies[0].replaceChildren(...answer.curve.map(({ age, certified, decision }) => {
    const row = element("tr", "");
    const cells = [money(decision.limit), money(decision.per_payment), money(certified), decision.bound.replaceAll("_", " ")];
    row.append(element("th", since(age), { scope: "row" }), ...cells.map((cell) => element("td", cell)));
    return row;
  }));
}

// 3. The wallet

let wallet;

async function openWallet() {
  const { setup, steps } = JSON.parse(new TextDecoder().decode(await bytes("device.json")));
  const grant = steps.findLast((step) => step.command?.accept && !step.refused).command.accept.grant;
  wallet = { device: page.plimsoll.device(setup), grant, now: setup.now, whole: 0, nonce: 0 };
  showWallet();
}

function showWallet() {
  const left = wallet.device.command("limit", { now: wallet.now });
  wallet.whole ||= left.remaining;
  $("wallet-state").dataset.state = left.remaining > 0 ? "good" : "busy";
  $("wallet-state").textContent = left.remaining > 0
    ? `${money(left.remaining)} left, ${money(left.per_payment)} in one payment, ${money(left.without_proof)} without a fingerprint`
    : `Nothing to spend: ${left.says}.`;
  $("meter").style.width = `${wallet.whole ? (100 * left.remaining) / wallet.whole : 0}%`;
  $("pay-now").disabled = wallet.whole === 0;
}

function accept() {
  const { new: fresh } = wallet.device.command("accept", { grant: wallet.grant, now: wallet.now });
  $("accept").textContent = fresh ? "Grant accepted" : "Already accepted";
  showWallet();
}

function pay() {
  wallet.now += 60;
  wallet.nonce += 1;
  const amount = Math.round(Number($("amount").value) * 100);
  // The payee draws it; 22 characters of base64url are 16 bytes.
  const nonce = `${String(wallet.nonce).padStart(21, "0")}A`;
  const request = { payee: "m-kedai-12", amt: amount, cur: "MYR/2", nonce, iat: wallet.now, exp: wallet.now + 300 };
  const told = wallet.device.command("authorise", { request, proved: $("proved").checked, now: wallet.now });
  const words = {
    approve: ["paid", () => `payment ${told.number}, signed: ${told.token.jws.length} characters`],
    step_up: ["fingerprint needed", () => `above ${money(told.left.without_proof)}`],
    decline: ["declined", () => [told.says, told.advises].filter(Boolean).join("; ")],
  };
  const [title, detail] = words[told.decision];
  const row = element("li", "", { "data-decision": told.decision });
  row.append(element("b", `${money(amount)} ${title}`), element("span", detail()));
  $("payments").prepend(row);
  showWallet();
}

// The page itself

function showNetwork() {
  $("network").dataset.online = navigator.onLine;
  $("network").textContent = navigator.onLine ? "online" : "network cut";
}

/** Files of a dropped folder, at any depth. */
async function dropped(items) {
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      found.push({ path: entry.fullPath, file: await new Promise((done, failed) => entry.file(done, failed)) });
      return;
    }
    const reader = entry.createReader();
    // A reader gives at most a hundred entries at a time, and none when it is done.
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (some.length === 0) return;
      for (const inside of some) await walk(inside);
    }
  };
  for (const entry of items) await walk(entry);
  return found;
}

async function guarded(action) {
  try {
    await action();
  } catch (error) {
    verdict("bad", error instanceof Refused ? `Refused: ${error.code}` : "Not done", error.message);
  }
}

function listen() {
  $("sample").onclick = () => guarded(async () => show(page.sample));
  $("tamper").onclick = () => guarded(tamper);
  $("golden").onclick = () => guarded(runGolden);
  $("clock").onchange = () => guarded(() => verify(page.repository));
  $("files").onchange = () => guarded(async () =>
    show(await fromFiles([...$("files").files].map((file) => ({ path: file.webkitRelativePath || file.name, file })))));
  $("ask").oninput = () => guarded(ask);
  $("accept").onclick = () => guarded(accept);
  $("pay").onsubmit = (event) => {
    event.preventDefault();
    guarded(pay);
  };
  document.body.ondragover = (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  };
  document.body.ondragleave = (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  };
  document.body.ondrop = (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    guarded(async () => show(await fromFiles(await dropped(entries))));
  };
  addEventListener("online", showNetwork);
  addEventListener("offline", showNetwork);
}

/** Keeps the page for when the network is cut. Without a service worker (plain http elsewhere) it works until it is closed. */
async function keep(files) {
  if (!navigator.serviceWorker) return;
  await navigator.serviceWorker.register("sw.js");
  const { active } = await navigator.serviceWorker.ready;
  const channel = new MessageChannel();
  const kept = new Promise((done) => (channel.port1.onmessage = done));
  active.postMessage([...SHELL, ...files], [channel.port2]);
  await kept;
  document.documentElement.dataset.kept = "yes";
}

async function start() {
  showNetwork();
  const engine = await bytes("plimsoll.wasm");
  page.plimsoll = await Plimsoll.load(engine);
  $("engine").textContent = `${(engine.length / 1_024).toFixed(0)} KiB of WebAssembly`;
  choices("profiles", "profile", Object.entries(PROFILES).map(([id, { name, about }]) => [id, name, about]), "student");
  choices("tiers", "tier", [[1, "Tier 1", ""]], 1);
  listen();
  page.sample = await fetchSample();
  show(page.sample);
  await openWallet();
  document.documentElement.dataset.ready = "yes";
  const list = JSON.parse(new TextDecoder().decode(await bytes("repository.json")));
  await keep([list.root, ...list.files]);
}

guarded(start);
