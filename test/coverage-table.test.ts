// The table of what is done with each match and target says what the code does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { storedTable, vocabularyTable } from "./support/vocabulary-table.ts";

test("examples/coverage.md is what npx tsx test/support/vocabulary-table.ts writes", () => {
  assert.equal(storedTable(), vocabularyTable());
});
