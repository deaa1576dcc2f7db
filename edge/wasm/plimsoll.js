// Plimsoll's edge in JavaScript: what ../ffi exports, with JavaScript's own values around it. Needs nothing but WebAssembly:
// no shims, no clock, no network. The caller passes bytes and the time.
//
//     const plimsoll = await Plimsoll.load(fetch("plimsoll.wasm"));
//     const evaluator = plimsoll.open({ files, root, now });
//     const answer = evaluator.evaluate({ history });

/** The ABI this file was written for; `PLIMSOLL_ABI` in plimsoll.h. */
const ABI = 1;
const OK = 0;
/** Bytes of a pointer in wasm32. */
const POINTER = 4;

/** Why nothing was answered: `code` is stable, `message` is for people. */
export class Refused extends Error {
  constructor({ code, message }) {
    super(message);
    this.name = "Refused";
    this.code = code;
  }
}

/** One instance of the engine. */
export class Plimsoll {
  #exports;
  /** Set by a trap: the memory behind it may be half-written, so nothing more is computed with it. */
  #trapped = false;

  constructor(exports) {
    this.#exports = exports;
    if (exports.plimsoll_abi() !== ABI) throw new Error("plimsoll.js and plimsoll.wasm are of different versions");
  }

  /** From the bytes of plimsoll.wasm, a compiled module, or a (promised) Response. */
  static async load(source) {
    source = await source;
    if (typeof Response !== "undefined" && source instanceof Response) {
      if (!source.ok) throw new Error(`plimsoll.wasm: HTTP ${source.status}`);
      source = await source.arrayBuffer();
    }
    const module = source instanceof WebAssembly.Module ? source : await WebAssembly.compile(source);
    return new Plimsoll((await WebAssembly.instantiate(module, {})).exports);
  }

  /**
   * Verifies a repository and makes its model ready. Throws Refused.
   *
   * files: Map of path in the repository to Uint8Array; root: the pinned root's bytes; now: UTC seconds.
   */
  open({ files, root, now, floors, modelId }) {
    const wasm = this.#exports;
    return this.#withBundle(files, (bundle) => {
      const terms = json({ now, floors, model_id: modelId });
      const [handle, opened] = this.#open([root, terms], (at, out, answer) =>
        wasm.plimsoll_open(bundle, ...at, out, answer));
      return new Evaluator(
        opened,
        (question) => this.#call([json(question)], (at, answer) => wasm.plimsoll_evaluate(handle, ...at, answer)),
        () => this.#run(() => wasm.plimsoll_evaluator_free(handle)),
      );
    });
  }

  /** Opens a whole device: models and wallet over one storage. Throws Refused. See `Setup` in plimsoll.d.ts. */
  device(setup) {
    const wasm = this.#exports;
    const [handle] = this.#open([json(setup)], (at, out, answer) => wasm.plimsoll_device_open(...at, out, answer));
    return new Device(
      (files, now) =>
        this.#withBundle(files, (bundle) =>
          this.#call([json({ now })], (at, answer) => wasm.plimsoll_device_install(handle, bundle, ...at, answer))),
      (command, told) => this.#call([json({ [command]: told })], (at, answer) => wasm.plimsoll_device_command(handle, ...at, answer)),
      () => this.#run(() => wasm.plimsoll_device_free(handle)),
    );
  }

  /** Bytes of memory taken from the host: it grows with use and does not shrink. */
  get memoryBytes() {
    return this.#exports.memory.buffer.byteLength;
  }

  #withBundle(files, use) {
    const wasm = this.#exports;
    const bundle = this.#run(() => wasm.plimsoll_bundle_new());
    try {
      for (const [path, bytes] of files) {
        this.#call([utf8(path), bytes], (at, answer) => wasm.plimsoll_bundle_add(bundle, ...at, answer));
      }
      return use(bundle);
    } finally {
      if (!this.#trapped) wasm.plimsoll_bundle_free(bundle);
    }
  }

  /** A call that makes a handle: [handle, answer]. */
  #open(inputs, call) {
    let handle = 0;
    const answer = this.#call([...inputs, new Uint8Array(POINTER)], (at, answer) => {
      const out = at.at(-2);
      const status = call(at.slice(0, -2), out, answer);
      handle = this.#view().getUint32(out, true);
      return status;
    });
    return [handle, answer];
  }

  /** The memory moves when it grows: a view is good until the next call. */
  #view() {
    return new DataView(this.#exports.memory.buffer);
  }

  #run(call) {
    if (this.#trapped) throw new Error("plimsoll.wasm trapped before: load it again");
    try {
      return call();
    } catch (trap) {
      if (trap instanceof WebAssembly.RuntimeError) this.#trapped = true;
      throw trap;
    }
  }

  /**
   * Copies inputs in, makes a call, and brings its answer out. What the inputs and the answer took inside is freed.
   *
   * call: gets [address, length, address, length, …] of the inputs, and the address for the answer; returns the status.
   */
  #call(inputs, call) {
    const wasm = this.#exports;
    // The answer's struct first (pointer, length), then the inputs, each aligned for a pointer.
    const aligned = (length) => Math.ceil(length / POINTER) * POINTER;
    const room = inputs.reduce((sum, bytes) => sum + aligned(bytes.length), 2 * POINTER);
    const answer = this.#run(() => wasm.plimsoll_alloc(room));
    if (answer === 0) throw new RangeError(`no memory for ${room} bytes`);
    try {
      let next = answer + 2 * POINTER;
      const at = inputs.flatMap((bytes) => {
        new Uint8Array(wasm.memory.buffer, next, bytes.length).set(bytes);
        const here = [next, bytes.length];
        next += aligned(bytes.length);
        return here;
      });
      const status = this.#run(() => call(at, answer));
      const view = this.#view();
      const said = new Uint8Array(view.buffer, view.getUint32(answer, true), view.getUint32(answer + POINTER, true));
      const value = said.length === 0 ? undefined : JSON.parse(new TextDecoder().decode(said));
      wasm.plimsoll_bytes_free(answer);
      if (status === OK) return value;
      throw new Refused(value);
    } finally {
      if (!this.#trapped) wasm.plimsoll_dealloc(answer, room);
    }
  }
}

/** A model that was verified and passed its golden vectors. */
class Evaluator {
  #evaluate;
  #free;

  constructor(opened, evaluate, free) {
    /** What was opened: release (manifest, certificate), policy, model_sha256, install_until, floors. */
    this.opened = opened;
    this.#evaluate = evaluate;
    this.#free = free;
  }

  /** What an account may spend offline. Throws Refused. */
  evaluate(question) {
    if (this.#free === undefined) throw new Error("this evaluator was freed");
    return this.#evaluate(question);
  }

  /** Gives its memory back; later calls throw. */
  free() {
    this.#free?.();
    this.#free = undefined;
  }
}

/** A payer's device. */
class Device {
  #install;
  #command;
  #free;

  constructor(install, command, free) {
    this.#install = install;
    this.#command = command;
    this.#free = free;
  }

  /** Verifies the newest release of a repository and installs it, if it is newer. Throws Refused. */
  install({ files, now }) {
    this.#alive();
    return this.#install(files, now);
  }

  /** Does what it is told: `command("limit", { now })` …, see `Commands` in plimsoll.d.ts. Throws Refused. */
  command(command, told = {}) {
    this.#alive();
    return this.#command(command, told);
  }

  /** Gives its memory back; later calls throw. */
  free() {
    this.#free?.();
    this.#free = undefined;
  }

  #alive() {
    if (this.#free === undefined) throw new Error("this device was freed");
  }
}

const utf8 = (text) => new TextEncoder().encode(text);
const json = (value) => utf8(JSON.stringify(value));
