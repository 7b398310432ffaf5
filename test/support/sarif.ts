// A log -> whether it is SARIF 2.1.0: the schema in the form of JSON Schema draft 4, which the package brings along.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import Ajv from "ajv";

const { resolve } = createRequire(import.meta.url);
const read = (path: string): object => JSON.parse(readFileSync(resolve(path), "utf8")) as object;

const ajv = new Ajv({ schemaId: "id", meta: false, format: "full", allErrors: true });
ajv.addMetaSchema(read("ajv/lib/refs/json-schema-draft-04.json"));
const isValid = ajv.compile(read("@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json"));

/** What the schema has against it. */
export function sarifErrors(log: unknown): readonly string[] {
  if (isValid(log) === true) return [];
  return isValid.errors!.map(({ dataPath, message }) => `${dataPath} ${message}`);
}
