// Findings -> a log in the Static Analysis Results Interchange Format (SARIF) 2.1.0, as code hosts read it.

import { FINDINGS } from "../lint/lint.ts";
import type { FindingKind, Unproved } from "../lint/lint.ts";
import { shortName } from "./lint.ts";
import type { PlacedFinding } from "./lint.ts";

const KINDS = Object.keys(FINDINGS) as FindingKind[];

/** Rules that do not what somebody wanted of them; others are only in the way. */
const WARNINGS: readonly FindingKind[] = ["never", "shadowed", "loop", "published"];

/** @param interrupted before everything was looked through */
export function sarifOf(
  findings: readonly PlacedFinding[],
  unproved: readonly Unproved[],
  version: string,
  interrupted: boolean,
): object {
  const rules = KINDS.map((kind) => ({
    id: kind,
    shortDescription: { text: FINDINGS[kind] },
    defaultConfiguration: { level: levelOf(kind) },
  }));
  const notifications = unproved.map(({ table, chain, reason }) => ({
    level: "warning",
    message: { text: `${table} ${chain ?? "published ports"}: undecided: ${reason}` },
  }));
  if (interrupted) notifications.push({ level: "error", message: { text: "interrupted: there may be more findings" } });
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: { driver: { name: "verdictree", version, rules } },
        columnKind: "utf16CodeUnits",
        invocations: [{ executionSuccessful: !interrupted, toolExecutionNotifications: notifications }],
        results: findings.map(resultOf),
      },
    ],
  };
}

function levelOf(kind: FindingKind): "warning" | "note" {
  return WARNINGS.includes(kind) ? "warning" : "note";
}

function resultOf({ finding: { kind, by }, name, file, line, text }: PlacedFinding): object {
  const because = by.length === 0 ? "" : ` (${by.map(shortName).join(", ")})`;
  return {
    ruleId: kind,
    ruleIndex: KINDS.indexOf(kind),
    level: levelOf(kind),
    message: { text: `${name}: ${FINDINGS[kind]}${because}: ${text}` },
    locations: [
      {
        physicalLocation: { artifactLocation: { uri: uriOf(file) }, region: { startLine: line } },
        logicalLocations: [{ fullyQualifiedName: name }],
      },
    ],
  };
}

function uriOf(file: string): string {
  const path = file.split("/").map(encodeURIComponent).join("/");
  return file.startsWith("/") ? `file://${path}` : path;
}
