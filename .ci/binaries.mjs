// Fails if an installed package brings a native binary that was built with Rust, or is one of those known to.
//
// Native files are told by their first bytes. What Rust has built holds the compiler's name and the paths of its
// standard library; a stripped binary still holds the latter, in the messages of its panics.

import { openSync, readFileSync, readSync, closeSync, readdirSync } from "node:fs";
import { join } from "node:path";

const KNOWN =
  /^@(biomejs|swc|rolldown|rspack|oxlint|oxc-[a-z]+|napi-rs|turbo)\/|^@(parcel\/(css|watcher)|tailwindcss\/oxide)|^(biome|rolldown|rspack|oxlint|oxc|lightningcss|turbo|dprint)(-|$)/;
const TRACES = [
  /rustc[ /]\d/,
  /\/rustc\/[0-9a-f]{40}/,
  /library\/(std|core|alloc)\/src\//,
  /rust_begin_unwind|rust_eh_personality/,
];
const NATIVE = ["7f454c46", "cffaedfe", "cefaedfe", "cafebabe", "4d5a"];

function isNative(path) {
  const file = openSync(path, "r");
  const head = Buffer.alloc(4);
  readSync(file, head, 0, 4, 0);
  closeSync(file);
  return NATIVE.some((magic) => head.toString("hex").startsWith(magic));
}

const files = readdirSync("node_modules", { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name));
const natives = files.filter(isNative);
const packages = files
  .filter((path) => /(^|\/)node_modules\/(@[^/]+\/)?[^/]+\/package\.json$/.test(path))
  .map((path) => path.replace(/^.*node_modules\//, "").replace(/\/package\.json$/, ""));

const found = [
  ...packages.filter((name) => KNOWN.test(name)).map((name) => `package ${name}`),
  ...natives.filter((path) => {
    const text = readFileSync(path, "latin1");
    return TRACES.some((trace) => trace.test(text));
  }),
];
for (const path of natives) console.log(`native: ${path}`);
if (found.length > 0) {
  console.error(`built with Rust:\n  ${found.join("\n  ")}`);
  process.exit(1);
}
console.log(`${packages.length} packages, ${natives.length} native files, none built with Rust`);
