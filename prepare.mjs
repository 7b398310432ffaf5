// Builds what is not built yet, or older than what it is made from.
//
// npm runs this after `npm ci`, and once more when npx first meets the checkout: then there is nothing left to do, and
// nothing is rewritten under a command that is running.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";

const PRODUCT = "dist/cli/main.js";
const SOURCES = ["src", "assembly", "asconfig.json", "tsconfig.json", "tsconfig.build.json", "package-lock.json"];

function newestUnder(path) {
  const status = statSync(path);
  if (!status.isDirectory()) return status.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newestUnder(`${path}/${name}`)));
}

if (!existsSync(PRODUCT) || statSync(PRODUCT).mtimeMs < Math.max(...SOURCES.map(newestUnder))) {
  const { status } = spawnSync("npm run build", { shell: true, stdio: "inherit" });
  process.exitCode = status ?? 1;
}
