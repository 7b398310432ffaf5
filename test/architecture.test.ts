// The shape of the source: who may import whom. ARCHITECTURE.md says why.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

/** Each part imports from itself and from those to its left. */
const ORDER = (
  "net layout rules host packet classifier reference compile engine traffic firewall " +
  "explain diff lint flows pcap index cli"
).split(" ");

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const SRC = join(ROOT, "src");

interface Import {
  readonly file: string;
  readonly specifier: string;
}

function filesUnder(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(folder, name));
}

/** Static, dynamic and re-exporting imports, types too. */
function importsOf(file: string): Import[] {
  const text = readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  const found = text.matchAll(/(?:[}*\w] from|\bimport)\s*\(?\s*["']([^"']+)["']/g);
  return [...found].map(([, specifier]) => ({ file: relative(ROOT, file), specifier: specifier! }));
}

/** `src/rules/parse.ts` is of the part `rules`, `src/layout.ts` of `layout`. */
function partOf(file: string): string {
  return relative(SRC, file).split(sep)[0]!.replace(/\.ts$/, "");
}

const imports = filesUnder(SRC).flatMap(importsOf);

test("every part of src has its place in the order", () => {
  const parts = new Set(filesUnder(SRC).map(partOf));
  assert.deepEqual(
    [...parts].filter((part) => !ORDER.includes(part)),
    [],
  );
});

test("a part imports only itself and the parts before it", () => {
  const wrong = imports.filter(({ file, specifier }) => {
    if (!specifier.startsWith(".")) return false;
    const from = join(ROOT, file);
    return ORDER.indexOf(partOf(resolve(dirname(from), specifier))) > ORDER.indexOf(partOf(from));
  });
  assert.deepEqual(wrong, []);
});

test("imports name a file of src, with its extension", () => {
  // the WASM bytes are a product of the build
  const built = join(SRC, "engine", "wasm.ts");
  const wrong = imports.filter(({ file, specifier }) => {
    if (!specifier.startsWith(".")) return false;
    const path = resolve(ROOT, dirname(file), specifier);
    return !path.startsWith(SRC + sep) || (path !== built && !existsSync(path));
  });
  assert.deepEqual(wrong, []);
});

test("the core needs neither Node nor a package", () => {
  const wrong = imports.filter(
    ({ file, specifier }) => !specifier.startsWith(".") && partOf(join(ROOT, file)) !== "cli",
  );
  assert.deepEqual(wrong, []);
});

test("the command line alone names packages, and only those of package.json", () => {
  const { dependencies = {} } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    dependencies?: Record<string, string>;
  };
  const wrong = imports.filter(
    ({ specifier }) => !specifier.startsWith(".") && !specifier.startsWith("node:") && !(specifier in dependencies),
  );
  assert.deepEqual(wrong, []);
});

test("the assembly imports itself and the layout", () => {
  const layout = join(SRC, "layout");
  const wrong = filesUnder(join(ROOT, "assembly"))
    .flatMap(importsOf)
    .filter(({ file, specifier }) => {
      const path = resolve(ROOT, dirname(file), specifier).replace(/\.ts$/, "");
      return !specifier.startsWith(".") || (path !== layout && !path.startsWith(join(ROOT, "assembly") + sep));
    });
  assert.deepEqual(wrong, []);
});

test("an index only exports", () => {
  const wrong = filesUnder(SRC)
    .filter((file) => file.endsWith(`${sep}index.ts`))
    .filter((file) => {
      const text = readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
      return text.replace(/export\s+(type\s+)?(\*|\{[^}]*\})(\s+as\s+\w+)?\s+from\s+"[^"]+";/g, "").trim() !== "";
    })
    .map((file) => relative(ROOT, file));
  assert.deepEqual(wrong, []);
});
