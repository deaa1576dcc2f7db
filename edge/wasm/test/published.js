// What the tests open: the repository that is published under ../../tests/fixtures, and the answers Rust gave.

import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
export const fixtures = join(here, "../../tests/fixtures");
/** What build.sh made. */
export const built = process.env.PLIMSOLL_WASM_OUT ?? join(here, "../../../target/plimsoll-wasm");
/** A day after the first release was published. */
export const NOW = 1_795_219_200 + 86_400;

/** Map of path in the repository to bytes. */
export function repository(release) {
  const root = join(fixtures, "published", release);
  const paths = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(paths.map((entry) => {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    return [relative(root, path), new Uint8Array(readFileSync(path))];
  }));
}

export const root = () => new Uint8Array(readFileSync(join(fixtures, "published/root.json")));

/** A device's life: setup and steps with the answers that Rust gave. */
export const life = () => JSON.parse(readFileSync(join(fixtures, "device.json"), "utf8"));

/** The golden vectors that are published with the current model of a repository. */
export function golden(files, opened) {
  const hash = opened.release.manifest.golden_sha256;
  const [, bytes] = [...files].find(([path]) => path.includes(hash));
  return JSON.parse(new TextDecoder().decode(bytes));
}
