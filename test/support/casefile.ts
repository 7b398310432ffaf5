// A case file <-> rule sets, each with a host and packets whose answers are written down.
//
//     # what the kernel does, and where that is written
//     host {"interfaces": [{"name": "eth0", "addresses": ["10.0.0.1/24"]}], "routes": []}
//     *filter
//     ...
//     COMMIT
//
//     > in=eth0 proto=tcp dport=90 => ACCEPT INPUT:1
//
// Before `=>` stand the keys of a packet line; `frag=8+16` is a fragment of 16 bytes at offset 8. What is not said is
// in=eth0 src=10.0.0.9 dst=10.0.0.1 proto=udp, and so on as packet lines have it. Without a `host` line the host is
// HOST below. Packets are answered in the order of the file, so that guards remember. A table behind packets begins
// the next rule set.
//
// Behind `=>` stands what the answer must say, word by word; what is not named is not asked. The first is ACCEPT (it
// left or was delivered), DROP or REJECT, or the verdict of an Outcome. A second one without `=` is the rule of filter,
// or of the table before the slash, that decided. Then come out= where= src= dst= sport= dport= ttl= mark= path= state=
// reply= dnat= snat= and trace=, the rules and policies met.

import type { RuleRef } from "../../src/classifier.ts";
import { formatAddress } from "../../src/net/address.ts";
import type { Answer } from "./classifiers.ts";
import type { HostJson } from "./arbitrary-host.ts";
import type { PacketJson } from "./arbitrary-packets.ts";

export interface Case {
  /** Line of the file where the rule set begins. */
  readonly line: number;
  readonly rules: string;
  readonly host: HostJson;
  readonly packets: readonly CasePacket[];
}

export interface CasePacket {
  readonly line: number;
  /** As written, without `> ` and without the answer. */
  readonly text: string;
  readonly packet: PacketJson;
  readonly expected: string;
}

export const HOST: HostJson = {
  interfaces: [
    { name: "eth0", addresses: ["10.0.0.1/24"] },
    { name: "eth1", addresses: ["10.0.1.1/24"] },
  ],
  routes: ["default via 10.0.0.254 dev eth0"],
  rules: [],
  sysctl: {},
  conntrack: "auto",
};

const ARRIVES = { in: "eth0", src: "10.0.0.9", dst: "10.0.0.1" } as const;

/** Throws for a line that is none of a case file. */
export function parseCases(text: string): Case[] {
  const cases: { line: number; rules: string[]; host: HostJson; packets: CasePacket[] }[] = [];
  let host = HOST;
  let open = false;
  text.split("\n").forEach((line, index) => {
    const last = cases.at(-1);
    if (open) {
      last!.rules.push(line);
      open = line !== "COMMIT";
    } else if (line.startsWith("host ")) {
      host = { ...HOST, routes: [], ...(JSON.parse(line.slice(5)) as Partial<HostJson>) };
    } else if (line.startsWith("*")) {
      open = true;
      if (last === undefined || last.packets.length > 0)
        cases.push({ line: index + 1, rules: [line], host, packets: [] });
      else last.rules.push(line);
    } else if (line.startsWith("> ")) {
      if (last === undefined) throw new Error(`${index + 1}: a packet before any rule set`);
      last.packets.push(parsePacket(line, index + 1, last.packets.length + 1));
    } else if (line.trim() !== "" && !line.startsWith("#")) {
      throw new Error(`${index + 1}: neither a rule set, a packet nor a comment: ${line}`);
    }
  });
  return cases.map(({ rules, ...rest }) => ({ ...rest, rules: rules.join("\n") + "\n" }));
}

function parsePacket(line: string, number: number, id: number): CasePacket {
  const [text, expected, ...more] = line
    .slice(2)
    .split("=>")
    .map((half) => half.trim().replace(/ +/g, " "));
  if (expected === undefined || more.length > 0) throw new Error(`${number}: a packet, "=>" and an answer belong here`);
  const said = Object.fromEntries(text!.split(" ").map((word) => parseWord(word, number)));
  const local = said["in"] === "local";
  const packet = { id, ...(local ? { dst: "10.0.0.9" } : ARRIVES), ...said } as PacketJson;
  return { line: number, text: text!, packet, expected };
}

function parseWord(word: string, number: number): [string, unknown] {
  const [key = "", value, ...more] = word.split("=");
  if (value === undefined || more.length > 0) throw new Error(`${number}: ${word} is not key=value`);
  if (key === "frag") {
    const [offset, length] = value.split("+").map(Number);
    return [key, { offset, length }];
  }
  if (value === "true") return [key, true];
  return [key, /^(\d+(\.\d+)?|0x[0-9a-f]+)$/.test(value) ? Number(value) : value];
}

/** The answer in the words that `expected` uses: the same text if it agrees. */
export function answerAs(expected: string, answer: Answer): string {
  const words = expected.split(" ").map((word, index): string => {
    if (index === 0) return /^[A-Z]/.test(word) ? VERDICT_WORDS[answer.outcome.verdict] : answer.outcome.verdict;
    const [key, value] = word.split("=");
    return value === undefined ? refText(answer.outcome.rule) : `${key}=${fact(key!, answer)}`;
  });
  return words.join(" ");
}

const VERDICT_WORDS: Readonly<Record<Answer["outcome"]["verdict"], string>> = {
  forwarded: "ACCEPT",
  sent: "ACCEPT",
  delivered: "ACCEPT",
  dropped: "DROP",
  rejected: "REJECT",
  held: "HELD",
};

function fact(key: string, { outcome, trace }: Answer): string {
  const { packet } = outcome;
  switch (key) {
    case "out":
      return outcome.iface ?? "none";
    case "where":
      return outcome.where ?? "none";
    case "src":
    case "dst":
      return formatAddress(packet[key]);
    case "sport":
    case "dport":
    case "ttl":
    case "tos":
      return String(packet[key]);
    case "mark":
      return `0x${packet.mark.toString(16)}`;
    case "path":
      return outcome.path.join(",");
    case "state":
      return outcome.ctState ?? "none";
    case "reply":
      return outcome.reply?.replace(" ", ":") ?? "none";
    case "dnat":
      return refText(outcome.dnatRule);
    case "snat":
      return refText(outcome.snatRule);
    case "trace":
      return trace.map(refText).join(",") || "none";
    default:
      throw new Error(`${key} is no word of an answer`);
  }
}

/** `FORWARD:2`, with the table unless it is filter, or nat for what only nat does. */
export function refText(ref: RuleRef | null): string {
  if (ref === null) return "none";
  return `${ref.table === "filter" ? "" : `${ref.table}/`}${ref.chain}:${ref.number}`;
}

/** A failing rule set and packets as a case to paste; the answers are those that are held to be right. */
export function printCase(
  rules: string,
  host: HostJson,
  packets: readonly PacketJson[],
  answers: readonly Answer[],
): string {
  const lines = packets.map((packet, index) => {
    const { id, ...said } = packet;
    const words = Object.entries(said).map(([key, value]) =>
      typeof value === "object" ? `${key}=${value.offset}+${value.length}` : `${key}=${value}`,
    );
    const answer = answers[index];
    return `> ${words.join(" ")} => ${answer === undefined ? `(packet ${id}: no answer)` : expectation(answer)}`;
  });
  return `host ${JSON.stringify(host)}\n${rules}\n${lines.join("\n")}\n`;
}

function expectation(answer: Answer): string {
  const keys = ["out", "where", "src", "dst", "sport", "dport", "mark", "reply", "dnat", "snat", "trace"];
  return answerAs(`ACCEPT rule ${keys.map((key) => `${key}=`).join(" ")}`, answer);
}
