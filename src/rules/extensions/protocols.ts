// Matches on headers of less frequent protocols: sctp, dccp, esp, ah, ipcomp.
//
// Follows libxt_sctp.c, libxt_dccp.c, libxt_esp.c, libipt_ah.c, libip6t_ah.c and libxt_ipcomp.c of iptables 1.8.9.
// Differs: where iptables-save would forget a test that never holds (`! --espspi :`), it is printed.

import { PROTO_DCCP, PROTO_SCTP } from "../../net/protocol.ts";
import type { Extension, OptionForm } from "../extension.ts";
import { opaqueMatch } from "../opaque.ts";
import type { Match, Range } from "../ruleset.ts";
import { integer, portRange, rangeOf, u32, U32_MAX, U8_MAX, type Value } from "../types.ts";
import { readCPort } from "../values.ts";

const PROTO_ESP = 50;
const PROTO_AH = 51;
const PROTO_IPCOMP = 108;

const spi: Value<Range> = { ...rangeOf(U32_MAX), idle: `0:${U32_MAX}` };

const SCTP_FLAGS = { DATA: "----IUBE", I_DATA: "----IUBE", ABORT: "-------T", SHUTDOWN_COMPLETE: "-------T" } as const;
/** By type, in the order in which they are printed. */
const SCTP_CHUNKS: ReadonlyMap<string, number> = new Map([
  ...["DATA", "INIT", "INIT_ACK", "SACK", "HEARTBEAT", "HEARTBEAT_ACK", "ABORT", "SHUTDOWN"].map(numbered(0)),
  ...["SHUTDOWN_ACK", "ERROR", "COOKIE_ECHO", "COOKIE_ACK", "ECN_ECNE", "ECN_CWR", "SHUTDOWN_COMPLETE"].map(
    numbered(8),
  ),
  ["I_DATA", 64],
  ["ASCONF_ACK", 128],
  ["RE_CONFIG", 130],
  ["PAD", 132],
  ["FORWARD_TSN", 192],
  ["ASCONF", 193],
  ["I_FORWARD_TSN", 194],
]);

function numbered(first: number): (name: string, index: number) => [string, number] {
  return (name, index) => [name, first + index];
}

/** `all SACK,DATA:Be`: which, then the types of chunks, perhaps with flags. Gives it as it is printed. */
function readChunks(which: string, list: string): string | null {
  const kind = ["any", "all", "only"].find((name) => name === which.toLowerCase());
  if (kind === undefined) return null;
  if (list.toUpperCase() === "ALL" || list.toUpperCase() === "NONE") return `${kind} ${list.toUpperCase()}`;
  const asked = new Map<string, string>();
  for (const item of list.split(",").filter((part) => part !== "")) {
    const [name = "", flags = ""] = item.split(":");
    const chunk = name.toUpperCase();
    if (!SCTP_CHUNKS.has(chunk)) return null;
    const valid: string = chunk in SCTP_FLAGS ? SCTP_FLAGS[chunk as keyof typeof SCTP_FLAGS] : "";
    if (Array.from(flags).some((flag) => flag === "-" || !valid.includes(flag.toUpperCase()))) return null;
    const ordered = Array.from(valid).flatMap((bit) => Array.from(flags).filter((flag) => flag.toUpperCase() === bit));
    asked.set(chunk, ordered.length === 0 ? chunk : `${chunk}:${ordered.join("")}`);
  }
  const shown = [...SCTP_CHUNKS.keys()].flatMap((chunk) => asked.get(chunk) ?? []);
  return shown.length === 0 ? `${kind} NONE` : `${kind} ${shown.join(",")}`;
}

const sctpPorts: Value<Range> = {
  read(line, word, text) {
    const [first = "", last, more] = text.split(":");
    if (more !== undefined) line.fail(`"${text}" is no port or range of ports`, word);
    const lo = first === "" && last !== undefined ? 0 : readCPort(line, word, first, PROTO_SCTP);
    const hi = last === undefined ? lo : last === "" ? 65535 : readCPort(line, word, last, PROTO_SCTP);
    if (lo > hi) line.fail(`the range ${text} is empty`, word);
    return { lo, hi };
  },
  print: (range) => portRange.print(range, 4),
};

const sctp = opaqueMatch({
  name: "sctp",
  protos: [PROTO_SCTP],
  options: [
    { names: "sport source-port", negatable: true, value: sctpPorts },
    { names: "dport destination-port", negatable: true, value: sctpPorts },
    { names: "chunk-types", args: 2, negatable: true },
  ],
  print(given) {
    const ports = ["sport", "dport"].map((key) => {
      const range = given.get(key, sctpPorts);
      return range === undefined ? "" : `${given.negated(key) ? " !" : ""} --${key} ${sctpPorts.print(range, 4)}`;
    });
    const chunks = given.find("chunk-types");
    if (chunks === undefined) return ports.join("");
    const shown = readChunks(chunks.argument, chunks.second);
    if (shown === null) given.fail("--chunk-types takes any, all or only, then names of chunks", "chunk-types");
    return `${ports.join("")}${chunks.negated ? " !" : ""} --chunk-types ${shown}`;
  },
});

const DCCP_TYPES = [
  "REQUEST",
  "RESPONSE",
  "DATA",
  "ACK",
  "DATAACK",
  "CLOSEREQ",
  "CLOSE",
  "RESET",
  "SYNC",
  "SYNCACK",
  "INVALID",
];

const dccpTypes: Value<readonly string[]> = {
  read(line, word, text) {
    const said = text.split(",").map((name) => name.toUpperCase());
    const unknown = said.find((name) => !DCCP_TYPES.includes(name));
    if (unknown !== undefined) line.fail(`"${unknown}" is no type of packet: ${DCCP_TYPES.join(", ")}`, word);
    return DCCP_TYPES.filter((name) => said.includes(name));
  },
  print: (types) => types.join(","),
};

const dccp = opaqueMatch({
  name: "dccp",
  protos: [PROTO_DCCP],
  options: [
    { names: "sport source-port", negatable: true, value: portRange },
    { names: "dport destination-port", negatable: true, value: portRange },
    { names: "dccp-types", negatable: true, value: dccpTypes },
    { names: "dccp-option", negatable: true, value: integer(U8_MAX, 1) },
  ],
});

const esp = opaqueMatch({
  name: "esp",
  protos: [PROTO_ESP],
  options: [{ names: "espspi", negatable: true, value: spi }],
});

const AHSPI: OptionForm = { names: "ahspi", negatable: true, value: spi };

const ah4 = opaqueMatch({ name: "ah", family: 4, protos: [PROTO_AH], options: [AHSPI] });

const ah6 = opaqueMatch({
  name: "ah",
  family: 6,
  options: [AHSPI, { names: "ahlen", negatable: true, value: { ...u32, idle: "0" } }, { names: "ahres", args: 0 }],
});

const ipcomp = opaqueMatch({
  name: "ipcomp",
  protos: [PROTO_IPCOMP],
  options: [
    { names: "ipcompspi", negatable: true, value: spi },
    { names: "compres", args: 0 },
  ],
});

export const MATCHES: readonly Extension<Match>[] = [sctp, dccp, esp, ah4, ah6, ipcomp];
