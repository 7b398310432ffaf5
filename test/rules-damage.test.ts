// Damaged rule files parse whole or are refused at a line: never another exception, never fewer rules in silence.

import assert from "node:assert/strict";
import { test } from "node:test";
import { checkDamage, rulesToDamage } from "./support/damage.ts";

test("of 600 damaged copies each parses whole or is refused at a line, and both happen", () => {
  const { parsed, refused } = checkDamage(rulesToDamage("fixtures"), 600, 1);
  assert.ok(parsed > 30 && refused > 300, `${parsed} parsed, ${refused} refused`);
});
