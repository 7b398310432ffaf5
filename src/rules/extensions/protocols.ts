// Matches on headers of less frequent protocols: sctp, dccp, esp, ah, ipcomp.
//
// Follows libxt_sctp.c, libxt_dccp.c, libxt_esp.c, libipt_ah.c, libip6t_ah.c and libxt_ipcomp.c of iptables 1.8.9.
// Differs: where iptables-save would forget a test that never holds (`! --espspi :`), it is printed.

import { PROTO_AH, PROTO_DCCP, PROTO_ESP, PROTO_IPCOMP, PROTO_SCTP } from "../../net/protocol.ts";
import type { Extension, Given, OptionForm } from "../extension.ts";
import { opaqueMatch, printedExtension } from "../opaque.ts";
import type { DccpMatch, Match, Range, SctpChunks, SctpMatch, SpiMatch } from "../ruleset.ts";
import { integer, portRange, printTest, rangeOf, u32, U32_MAX, U8_MAX, type Value } from "../types.ts";
import { readCPort } from "../values.ts";

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

/** `all SACK,DATA:Be`: which, then the types of chunks, perhaps with flags; null: neither that nor ALL or NONE. */
function readChunks(which: string, list: string): Omit<SctpChunks, "negated"> | null {
  const kind = (["any", "all", "only"] as const).find((name) => name === which.toLowerCase());
  if (kind === undefined) return null;
  if (list.toUpperCase() === "ALL") {
    return { which: kind, types: Array.from({ length: 256 }, (_, type) => ({ type, mask: 0, flags: 0 })) };
  }
  if (list.toUpperCase() === "NONE") return { which: kind, types: [] };
  const asked = new Map<number, { type: number; mask: number; flags: number }>();
  for (const item of list.split(",").filter((part) => part !== "")) {
    const [name = "", flags = ""] = item.split(":");
    const type = SCTP_CHUNKS.get(name.toUpperCase());
    if (type === undefined) return null;
    const valid = flagsOf(name.toUpperCase());
    // named again it keeps the flags that it had: save_chunk_flag_info()
    const chunk = asked.get(type) ?? { type, mask: 0, flags: 0 };
    for (const flag of flags) {
      const bit = 128 >> valid.indexOf(flag.toUpperCase());
      if (flag === "-" || !valid.includes(flag.toUpperCase())) return null;
      chunk.mask |= bit;
      if (flag !== flag.toLowerCase()) chunk.flags |= bit;
    }
    asked.set(type, chunk);
  }
  return { which: kind, types: [...asked.values()] };
}

function flagsOf(chunk: string): string {
  return chunk in SCTP_FLAGS ? SCTP_FLAGS[chunk as keyof typeof SCTP_FLAGS] : "";
}

function printChunks({ which, types }: Omit<SctpChunks, "negated">): string {
  if (types.length === 0) return `${which} NONE`;
  if (types.length === 256) return `${which} ALL`;
  const shown = [...SCTP_CHUNKS].flatMap(([name, type]) => {
    const chunk = types.find((one) => one.type === type);
    if (chunk === undefined) return [];
    const flags = Array.from(flagsOf(name), (flag, index) => {
      const bit = 128 >> index;
      if ((chunk.mask & bit) === 0) return "";
      return (chunk.flags & bit) === 0 ? flag.toLowerCase() : flag;
    }).join("");
    return [flags === "" ? name : `${name}:${flags}`];
  });
  return `${which} ${shown.join(",")}`;
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

function readSctp(options: string, given: Given): SctpMatch {
  const setting = given.find("chunk-types");
  const chunks = setting === undefined ? null : readChunks(setting.argument, setting.second);
  if (setting !== undefined && chunks === null) {
    given.fail("--chunk-types takes any, all or only, then names of chunks", "chunk-types");
  }
  return {
    kind: "sctp",
    options,
    sport: given.test("sport", sctpPorts),
    dport: given.test("dport", sctpPorts),
    chunks: chunks && { ...chunks, negated: given.negated("chunk-types") },
  };
}

const sctp = printedExtension<SctpMatch>(
  {
    name: "sctp",
    protos: [PROTO_SCTP],
    options: [
      { names: "sport source-port", negatable: true, value: sctpPorts },
      { names: "dport destination-port", negatable: true, value: sctpPorts },
      { names: "chunk-types", args: 2, negatable: true },
    ],
    print(given) {
      const { sport, dport, chunks } = readSctp("", given);
      const print = (range: Range): string => sctpPorts.print(range, 4);
      return (
        printTest("sport", sport, print) +
        printTest("dport", dport, print) +
        printTest("chunk-types", chunks, printChunks)
      );
    },
  },
  readSctp,
);

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

const dccpOption = integer(U8_MAX, 1);

const dccp = printedExtension<DccpMatch>(
  {
    name: "dccp",
    protos: [PROTO_DCCP],
    options: [
      { names: "sport source-port", negatable: true, value: portRange },
      { names: "dport destination-port", negatable: true, value: portRange },
      { names: "dccp-types", negatable: true, value: dccpTypes },
      { names: "dccp-option", negatable: true, value: dccpOption },
    ],
  },
  (options, given) => {
    const types = given.get("dccp-types", dccpTypes);
    const option = given.get("dccp-option", dccpOption);
    return {
      kind: "dccp",
      options,
      sport: given.test("sport", portRange),
      dport: given.test("dport", portRange),
      types: types === undefined ? null : { mask: maskOf(types), negated: given.negated("dccp-types") },
      option: option === undefined ? null : { option, negated: given.negated("dccp-option") },
    };
  },
);

function maskOf(types: readonly string[]): number {
  // INVALID stands for all types that have no name
  return types.reduce((mask, type) => mask | (type === "INVALID" ? 0xfc00 : 1 << DCCP_TYPES.indexOf(type)), 0);
}

function spiMatch(
  name: SpiMatch["kind"],
  proto: number,
  key: string,
  ...others: readonly OptionForm[]
): Extension<Match> {
  return printedExtension<SpiMatch>(
    { name, protos: [proto], options: [{ names: key, negatable: true, value: spi }, ...others] },
    (options, given) => ({ kind: name, options, spi: given.test(key, spi) }),
  );
}

const esp = spiMatch("esp", PROTO_ESP, "espspi");

const ah4: Extension<Match> = { ...spiMatch("ah", PROTO_AH, "ahspi"), family: 4 };

const ah6 = opaqueMatch({
  name: "ah",
  family: 6,
  options: [
    { names: "ahspi", negatable: true, value: spi },
    { names: "ahlen", negatable: true, value: { ...u32, idle: "0" } },
    { names: "ahres", args: 0 },
  ],
});

const ipcomp = spiMatch("ipcomp", PROTO_IPCOMP, "ipcompspi", { names: "compres", args: 0 });

export const MATCHES: readonly Extension<Match>[] = [sctp, dccp, esp, ah4, ah6, ipcomp];
