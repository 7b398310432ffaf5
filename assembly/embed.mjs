// dist/verdictree.wasm -> src/engine/wasm.ts: the module as text, so that the core needs no file access
// and runs wherever WebAssembly does (browser, worker, Deno, Bun, Node).

import { readFileSync, writeFileSync } from "node:fs";

const bytes = readFileSync(new URL("../dist/verdictree.wasm", import.meta.url));
writeFileSync(
  new URL("../src/engine/wasm.ts", import.meta.url),
  `/** The engine (assembly/), compiled and in base64. Written by assembly/embed.mjs. */
export const WASM_BASE64 =
  "${bytes.toString("base64")}";
`,
);
