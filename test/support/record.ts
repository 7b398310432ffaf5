// Writes examples/*/verdicts.jsonl anew from the kernel: npx tsx test/support/record.ts

import { writeFileSync } from "node:fs";
import { readExamples } from "./examples.ts";

for (const { name, verdictsPath, ask } of readExamples()) {
  const verdicts = ask();
  writeFileSync(verdictsPath, verdicts.map((verdict) => `${JSON.stringify(verdict)}\n`).join(""));
  console.log(`${name}: ${verdicts.length} verdicts`);
}
