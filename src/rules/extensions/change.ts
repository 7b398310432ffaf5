// Targets that change the packet or its mark, and let it go on.
//
// Follows libxt_MARK.c, libxt_TOS.c, libxt_DSCP.c, libipt_TTL.c, libipt_ECN.c, libxt_TCPMSS.c, libxt_TCPOPTSTRIP.c,
// libxt_CHECKSUM.c and libxt_CLASSIFY.c of iptables 1.8.9.

import { PROTO_TCP } from "../../net/protocol.ts";
import { optionsOf, type Extension } from "../extension.ts";
import type {
  DscpTarget,
  EcnTarget,
  Hook,
  MarkTarget,
  Match,
  Target,
  TcpmssTarget,
  TcpoptstripTarget,
  TosTarget,
  TtlTarget,
} from "../ruleset.ts";
import {
  DSCP_MAX,
  dscpClass,
  hex,
  hexByte,
  integer,
  mark,
  tos,
  U16_MAX,
  U8_MAX,
  u32,
  u8,
  type Value,
} from "../types.ts";

const MARK: Extension<MarkTarget> = {
  name: "MARK",
  options: optionsOf([
    { names: "set-xmark" },
    { names: "set-mark" },
    { names: "and-mark" },
    { names: "or-mark" },
    { names: "xor-mark" },
  ]),
  read({ settings, line, word, family }) {
    const [setting, another] = settings;
    if (setting === undefined)
      return line.fail("MARK needs --set-xmark, --set-mark, --and-, --or- or --xor-mark", word);
    if (another !== undefined) line.fail("MARK takes one option", another.word);
    if (setting.key === "set-xmark" || setting.key === "set-mark") {
      const { value, mask } = mark.read(line, setting.word, setting.argument, family);
      return { kind: "MARK", value, mask: setting.key === "set-mark" ? (mask | value) >>> 0 : mask };
    }
    const bits = u32.read(line, setting.word, setting.argument, family);
    if (setting.key === "and-mark") return { kind: "MARK", value: 0, mask: ~bits >>> 0 };
    return { kind: "MARK", value: bits, mask: setting.key === "or-mark" ? bits : 0 };
  },
  print: ({ value, mask }) => ` --set-xmark ${hex(value)}/${hex(mask)}`,
};

const TOS_FORMS = "set-tos and-tos or-tos xor-tos";

const TOS: Extension<TosTarget> = {
  name: "TOS",
  tables: ["mangle"],
  options: optionsOf(TOS_FORMS.split(" ").map((names) => ({ names, excludes: TOS_FORMS }))),
  read(given) {
    const [setting] = given.settings;
    if (setting === undefined) return given.fail("TOS needs --set-tos, --and-tos, --or-tos or --xor-tos");
    if (setting.key === "set-tos") return { kind: "TOS", ...given.get("set-tos", tos)! };
    const bits = given.get(setting.key, u8)!;
    if (setting.key === "and-tos") return { kind: "TOS", value: 0, mask: ~bits & U8_MAX };
    return { kind: "TOS", value: bits, mask: setting.key === "or-tos" ? bits : 0 };
  },
  print: (target) => ` --set-tos ${tos.print(target, 4)}`,
};

const dscpValue = integer(DSCP_MAX);

const DSCP: Extension<DscpTarget> = {
  name: "DSCP",
  tables: ["mangle"],
  options: optionsOf([
    { names: "set-dscp", excludes: "set-dscp-class" },
    { names: "set-dscp-class", excludes: "set-dscp" },
  ]),
  read: (given) => ({
    kind: "DSCP",
    dscp:
      given.get("set-dscp", dscpValue) ?? given.get("set-dscp-class", dscpClass) ?? given.fail("DSCP needs --set-dscp"),
  }),
  print: ({ dscp }) => ` --set-dscp ${hexByte(dscp)}`,
};

const TTL_FORMS = "ttl-set ttl-dec ttl-inc";
const step = integer(U8_MAX, 1);

const TTL: Extension<TtlTarget> = {
  name: "TTL",
  family: 4,
  tables: ["mangle"],
  options: optionsOf(TTL_FORMS.split(" ").map((names) => ({ names, excludes: TTL_FORMS }))),
  read(given) {
    const [setting] = given.settings;
    if (setting === undefined) return given.fail("TTL needs --ttl-set, --ttl-dec or --ttl-inc");
    const op = setting.key.slice(4) as TtlTarget["op"];
    return { kind: "TTL", op, ttl: given.get(setting.key, op === "set" ? u8 : step)! };
  },
  print: ({ op, ttl }) => ` --ttl-${op} ${ttl}`,
};

const bit = integer(1);
const ect = integer(3);

const ECN: Extension<EcnTarget> = {
  name: "ECN",
  family: 4,
  tables: ["mangle"],
  options: optionsOf([
    { names: "ecn-tcp-remove", args: 0, excludes: "ecn-tcp-cwr ecn-tcp-ece" },
    { names: "ecn-tcp-cwr", excludes: "ecn-tcp-remove" },
    { names: "ecn-tcp-ece", excludes: "ecn-tcp-remove" },
    { names: "ecn-ip-ect" },
  ]),
  read(given) {
    if (given.settings.length === 0) given.fail("ECN needs --ecn-tcp-remove or another operation");
    const removes = given.has("ecn-tcp-remove");
    const flag = (key: string): 0 | 1 | null => (removes ? 0 : ((given.get(key, bit) ?? null) as 0 | 1 | null));
    return {
      kind: "ECN",
      cwr: flag("ecn-tcp-cwr"),
      ece: flag("ecn-tcp-ece"),
      ect: given.get("ecn-ip-ect", ect) ?? null,
    };
  },
  print(target) {
    const { cwr, ece } = target;
    if (cwr === 0 && ece === 0 && target.ect === null) return " --ecn-tcp-remove";
    return (
      (ece === null ? "" : ` --ecn-tcp-ece ${ece}`) +
      (cwr === null ? "" : ` --ecn-tcp-cwr ${cwr}`) +
      (target.ect === null ? "" : ` --ecn-ip-ect ${target.ect}`)
    );
  },
  // ecn_tg_check()
  protosOf: ({ cwr, ece }) => (cwr === null && ece === null ? null : [PROTO_TCP]),
};

const HEADER_BYTES = { 4: 20, 6: 40 } as const;
const SYN = 2;

const TCPMSS: Extension<TcpmssTarget> = {
  name: "TCPMSS",
  protos: [PROTO_TCP],
  options: optionsOf([{ names: "set-mss" }, { names: "clamp-mss-to-pmtu", args: 0 }]),
  read(given) {
    const last = given.settings.at(-1);
    if (last === undefined) return given.fail("TCPMSS needs --set-mss or --clamp-mss-to-pmtu");
    const set = given.get("set-mss", integer(U16_MAX - HEADER_BYTES[given.family]));
    return { kind: "TCPMSS", mss: last.key === "set-mss" ? set! : "pmtu" };
  },
  print: ({ mss }) => (mss === "pmtu" ? " --clamp-mss-to-pmtu" : ` --set-mss ${mss}`),
  // tcpmss_tg4_check()
  hooks: ({ mss }) => (mss === "pmtu" ? (["FORWARD", "OUTPUT", "POSTROUTING"] satisfies Hook[]) : null),
  objection: (_, matches) =>
    matches.some(asksSyn)
      ? null
      : "TCPMSS works on SYN packets only: the rule must ask for SYN, by --syn or --tcp-flags",
};

function asksSyn(match: Match): boolean {
  return match.kind === "tcp" && match.flags !== null && (match.flags.comp & SYN) !== 0 && !match.flags.negated;
}

const OPTION_NAMES: ReadonlyMap<string, number> = new Map([
  ["wscale", 3],
  ["mss", 2],
  ["sack-permitted", 4],
  ["sack", 5],
  ["timestamp", 8],
  ["md5", 19],
]);

const optionList: Value<readonly number[]> = {
  read(line, word, text, family) {
    const kinds = new Set<number>();
    for (const item of text.split(",")) {
      const kind = OPTION_NAMES.get(item) ?? u8.read(line, word, item, family);
      if (kind < 2) line.failPart("options 0 and 1 cannot be stripped", word, item);
      if (kinds.has(kind)) line.failPart(`option ${item} stands twice`, word, item);
      kinds.add(kind);
    }
    return [...kinds].sort((a, b) => a - b);
  },
  print: (kinds) => kinds.join(","),
};

const TCPOPTSTRIP: Extension<TcpoptstripTarget> = {
  name: "TCPOPTSTRIP",
  tables: ["mangle"],
  protos: [PROTO_TCP],
  options: optionsOf([{ names: "strip-options" }]),
  read: (given) => ({ kind: "TCPOPTSTRIP", options: given.get("strip-options", optionList) ?? [] }),
  print: ({ options }) => (options.length === 0 ? "" : ` --strip-options ${options.join(",")}`),
};

const CHECKSUM: Extension<Target> = {
  name: "CHECKSUM",
  tables: ["mangle"],
  options: optionsOf([{ names: "checksum-fill", args: 0, required: true }]),
  read: () => ({ kind: "CHECKSUM" }),
  print: () => " --checksum-fill",
};

const qdiscClass: Value<number> = {
  read(line, word, text) {
    const [, major, minor] = /^(?:0x)?([0-9a-f]{1,4}):(?:0x)?([0-9a-f]{1,4})$/i.exec(text) ?? [];
    if (major === undefined || minor === undefined) {
      return line.fail(`"${text}" is no class: MAJOR:MINOR, both hexadecimal`, word);
    }
    return parseInt(major, 16) * 65536 + parseInt(minor, 16);
  },
  print: (priority) => `${hexWord(priority >>> 16)}:${hexWord(priority & U16_MAX)}`,
};

function hexWord(value: number): string {
  return value.toString(16).padStart(4, "0");
}

const CLASSIFY: Extension<Extract<Target, { kind: "CLASSIFY" }>> = {
  name: "CLASSIFY",
  hooks: () => ["FORWARD", "OUTPUT", "POSTROUTING"],
  options: optionsOf([{ names: "set-class", required: true }]),
  read: (given) => ({ kind: "CLASSIFY", priority: given.get("set-class", qdiscClass)! }),
  print: ({ priority }) => ` --set-class ${qdiscClass.print(priority, 4)}`,
};

export const TARGETS: readonly Extension<Target>[] = [
  ...[MARK, TOS, DSCP, TTL, ECN, TCPMSS, TCPOPTSTRIP, CHECKSUM, CLASSIFY],
];
