// Node gets the same bits, the same refusals and the same life of a device as Rust. Run after build.sh: `npm test`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { NOW, built, golden, life, repository, root } from "./published.js";
import { goldenAnswers, questionOf } from "./golden.js";

const { Plimsoll, Refused } = await import(pathToFileURL(join(built, "plimsoll.js")));
const load = () => Plimsoll.load(readFileSync(join(built, "plimsoll.wasm")));

/** What `call` was refused for. */
function refused(call) {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof Refused, `${error}`);
    assert.ok(error.message.length > 0);
    return error.code;
  }
  assert.fail("must be refused");
}

test("the module imports nothing", async () => {
  const module = await WebAssembly.compile(readFileSync(join(built, "plimsoll.wasm")));
  assert.deepEqual(WebAssembly.Module.imports(module), []);
});

test("every golden vector comes out to the bit", async () => {
  const plimsoll = await load();
  for (const [release, now] of [["first", NOW], ["second", NOW + 7 * 86_400]]) {
    const files = repository(release);
    const evaluator = plimsoll.open({ files, root: root(), now });
    const { cases } = golden(files, evaluator.opened);
    assert.equal(cases.length, 8);
    for (const one of cases) {
      assert.deepEqual(goldenAnswers(evaluator.evaluate(questionOf(one))), goldenAnswers(one));
    }
    evaluator.free();
    assert.throws(() => evaluator.evaluate(questionOf(cases[0])), /freed/);
  }
});

test("one flipped bit in any file is refused, and the engine goes on", async () => {
  const plimsoll = await load();
  const files = repository("first");
  for (const [path, bytes] of files) {
    const flipped = bytes.slice();
    flipped[flipped.length >> 1] ^= 1;
    assert.notEqual(refused(() => plimsoll.open({ files: new Map(files).set(path, flipped), root: root(), now: NOW })), "request");
    const without = new Map(files);
    without.delete(path);
    assert.equal(refused(() => plimsoll.open({ files: without, root: root(), now: NOW })), "missing", path);
  }
  plimsoll.open({ files, root: root(), now: NOW }).free();
});

test("a refusal names its cause", async () => {
  const plimsoll = await load();
  const files = repository("first");
  const open = (change) => () => plimsoll.open({ files, root: root(), now: NOW, ...change });
  assert.equal(refused(open({ now: NOW + 365 * 86_400 })), "expired");
  assert.equal(refused(open({ root: new Uint8Array() })), "truncated");
  assert.equal(refused(open({ modelId: "another" })), "unknown_model");
  assert.equal(refused(open({ now: 0.5 })), "request");
  const { floors } = plimsoll.open({ files: repository("second"), root: root(), now: NOW + 7 * 86_400 }).opened;
  assert.equal(refused(open({ floors })), "rollback", "what was seen of the second release counts");
  const evaluator = open({})();
  assert.equal(refused(() => evaluator.evaluate({})), "request");
  const question = questionOf(golden(files, evaluator.opened).cases[0]);
  question.history.profile.currency = "NGN/2";
  assert.equal(refused(() => evaluator.evaluate(question)), "request");
});

test("a device lives the life that Rust recorded", async () => {
  const plimsoll = await load();
  const { setup, steps } = life();
  let device = plimsoll.device(setup);
  for (const step of steps) {
    const told = () => step.install
      ? device.install({ files: repository(step.install), now: step.terms.now })
      : device.command(...Object.entries(step.command)[0]);
    if (step.refused) {
      assert.throws(told, (error) => error instanceof Refused && error.code === step.refused.code
        && error.message === step.refused.message);
    } else {
      assert.deepEqual(told(), step.answer);
    }
  }
  // What the host kept begins the next life: the same counters, and the payments that were not acknowledged.
  const kept = device.command("files");
  const outbox = device.command("outbox");
  device.free();
  assert.throws(() => device.command("outbox"), /freed/);
  device = plimsoll.device({ ...setup, storage: { files: kept } });
  assert.deepEqual(device.command("outbox"), outbox);
  assert.equal(outbox.length, 2);
  device.free();
});

test("two hundred releases opened and freed do not fill the memory", async () => {
  const plimsoll = await load();
  const files = repository("first");
  const question = questionOf(golden(files, plimsoll.open({ files, root: root(), now: NOW }).opened).cases[0]);
  for (let i = 0; i < 200; i++) {
    const evaluator = plimsoll.open({ files, root: root(), now: NOW });
    evaluator.evaluate(question);
    evaluator.free();
  }
  assert.ok(plimsoll.memoryBytes < 16 * 1024 * 1024, `${plimsoll.memoryBytes} bytes`);
});
