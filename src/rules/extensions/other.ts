// Modules about other parts of the kernel, most of which a host here does not have.
//
// Follows the libxt_ and libipt_ files of iptables 1.8.9 of the same names.
// Differs: of labels of connections only numbers are known.

import { PROTO_TCP, PROTO_UDP } from "../../net/protocol.ts";
import { optionsOf, type Extension, type Given, type OptionForm } from "../extension.ts";
import { opaqueMatch, opaqueTarget, printedExtension, printGiven, type OpaqueForm } from "../opaque.ts";
import type {
  ClusterMatch,
  HmarkTarget,
  Hook,
  InterfaceTest,
  Match,
  PhysdevMatch,
  PolicyMatch,
  QueueTarget,
  RpfilterMatch,
  SocketMatch,
  Target,
  TproxyTarget,
  WatcherTarget,
} from "../ruleset.ts";
import * as types from "../types.ts";
import type { AnyAddress, Value } from "../types.ts";
import { readInterface } from "../values.ts";

const { hex, host, hostMask, integer, mac, mark, not, oneOf, port, protocol, quote, string, u16, u32 } = types;

/** A text that is printed as it is. */
const word: Value<string> = { read: (_line, _word, text) => text, print: (text) => text };
const always: Value<string> = {
  read: (_line, _word, text) => text,
  print: (text) => `"${text.replace(/["\\]/g, "\\$&")}"`,
};
const hex32: Value<number> = { ...u32, print: (value) => `0x${value.toString(16).padStart(8, "0")}` };
const hex16: Value<number> = { ...u16, print: (value) => `0x${value.toString(16).padStart(4, "0")}` };
const hex8: Value<number> = { ...u16, print: (value) => `0x${value.toString(16).padStart(2, "0")}` };

function needsSome(reason: string): (given: Given) => void {
  return (given) => {
    if (given.settings.length === 0) given.fail(reason);
  };
}

// Matches

const PHYSDEV_FLAGS = ["is-in", "is-out", "is-bridged"] as const;

const physdev: Extension<PhysdevMatch> = {
  name: "physdev",
  options: optionsOf([
    { names: "physdev-in", negatable: true },
    { names: "physdev-out", negatable: true },
    ...PHYSDEV_FLAGS.map((flag): OptionForm => ({ names: `physdev-${flag}`, args: 0, negatable: true })),
  ]),
  read(given) {
    needsSome("physdev needs one of its options")(given);
    const iface = (key: string): InterfaceTest | null => {
      const setting = given.find(key);
      return setting === undefined ? null : readInterface(given.line, setting.word, setting.argument, setting.negated);
    };
    const flag = (key: string): PhysdevMatch["isIn"] => (given.has(key) ? { negated: given.negated(key) } : null);
    return {
      kind: "physdev",
      in: iface("physdev-in"),
      out: iface("physdev-out"),
      isIn: flag("physdev-is-in"),
      isOut: flag("physdev-is-out"),
      isBridged: flag("physdev-is-bridged"),
    };
  },
  hooks({ out, isOut, isBridged }) {
    const unbridged = isBridged === null || isBridged.negated;
    return (out !== null || isOut !== null) && unbridged ? WITH_PORTS : null;
  },
  print(match) {
    const iface = (name: string, test: InterfaceTest | null): string =>
      types.printTest(name, test, ({ name: text, wildcard }) => `${text}${wildcard ? "+" : ""}`);
    const flag = (name: string, test: PhysdevMatch["isIn"]): string =>
      test === null ? "" : `${not(test)} --physdev-${name}`;
    return (
      flag("is-in", match.isIn) +
      iface("physdev-in", match.in) +
      flag("is-out", match.isOut) +
      iface("physdev-out", match.out) +
      flag("is-bridged", match.isBridged)
    );
  },
};

/** physdev_mt_check(): where the host sends, no port is known yet. */
const WITH_PORTS: readonly Hook[] = ["PREROUTING", "INPUT", "FORWARD", "POSTROUTING"];

const RPFILTER_FLAGS = ["loose", "validmark", "accept-local", "invert"] as const;

const rpfilter: Extension<RpfilterMatch> = {
  name: "rpfilter",
  tables: ["raw", "mangle"],
  hooks: () => ["PREROUTING"],
  options: optionsOf(RPFILTER_FLAGS.map((names) => ({ names, args: 0 }))),
  read: (given) => ({
    kind: "rpfilter",
    loose: given.has("loose"),
    validMark: given.has("validmark"),
    acceptLocal: given.has("accept-local"),
    invert: given.has("invert"),
  }),
  print: (match) =>
    [match.loose, match.validMark, match.acceptLocal, match.invert]
      .map((set, index) => (set ? ` --${RPFILTER_FLAGS[index]!}` : ""))
      .join(""),
};

const POLICY_PARTS = ["reqid", "spi", "proto", "mode", "tunnel-dst", "tunnel-src"];
const policyProto: Value<number> = {
  read(line, index, text, family) {
    const proto = protocol.read(line, index, text, family);
    return [50, 51, 108].includes(proto) ? proto : line.fail(`"${text}" is none of esp, ah and ipcomp`, index);
  },
  print: (proto) => ({ 50: "esp", 51: "ah", 108: "ipcomp" })[proto] ?? String(proto),
};
const POLICY_VALUES: Readonly<Record<string, Value<unknown>>> = {
  reqid: u32,
  spi: { ...u32, print: hex } satisfies Value<number>,
  proto: policyProto,
  mode: oneOf(["transport", "tunnel"]),
  "tunnel-dst": hostMask,
  "tunnel-src": hostMask,
};
const MOST_POLICIES = 4;

function printPolicy(given: Given): string {
  const dir = given.find("dir")?.argument;
  const pol = given.find("pol")?.argument;
  const strict = given.has("strict");
  if (dir === undefined) return given.fail("policy needs --dir in or --dir out");
  const elements: Given["settings"][number][][] = [[]];
  for (const setting of given.settings) {
    if (setting.key === "next") elements.push([]);
    else if (POLICY_PARTS.includes(setting.key)) elements.at(-1)!.push(setting);
  }
  if (elements.length > MOST_POLICIES) given.fail(`${MOST_POLICIES} policies at most`, "next");
  if (pol === "none" && (strict || elements.length > 1)) given.fail("--pol none goes without --strict", "pol");
  const shown = elements.map((element) => {
    const part = (key: string): (typeof element)[number] | undefined => element.find((setting) => setting.key === key);
    const twice = element.find(({ key }, index) => element.findIndex((other) => other.key === key) < index);
    if (twice !== undefined) given.line.fail(`a second --${twice.key} of one policy`, twice.word);
    if (strict && element.length === 0) given.fail("with --strict a policy needs one of its options", "strict");
    const mode = part("mode");
    const tunnel = mode !== undefined && (mode.argument === "tunnel") !== mode.negated;
    const ends = part("tunnel-src") ?? part("tunnel-dst");
    if (ends !== undefined && !tunnel) given.line.fail(`--${ends.key} needs --mode tunnel`, ends.word);
    return POLICY_PARTS.map((key) => {
      const setting = part(key);
      if (setting === undefined) return "";
      const value = POLICY_VALUES[key]!;
      return `${not(setting)} --${key} ${value.print(value.read(given.line, setting.word, setting.argument, given.family), given.family)}`;
    }).join("");
  });
  return (
    ` --dir ${dir}` +
    (pol === undefined ? " --pol ipsec" : ` --pol ${pol}`) +
    (strict ? " --strict" : "") +
    (pol === "none" ? "" : shown.join(" --next"))
  );
}

const POLICY_HOOKS: Readonly<Record<"in" | "out", readonly Hook[]>> = {
  in: ["PREROUTING", "INPUT", "FORWARD"],
  out: ["FORWARD", "OUTPUT", "POSTROUTING"],
};

const policyDir = oneOf(["in", "out"]);
const policyKind = oneOf(["none", "ipsec"]);

const policy: Extension<PolicyMatch> = {
  ...printedExtension<PolicyMatch>(
    {
      name: "policy",
      options: [
        { names: "dir", value: policyDir },
        { names: "pol", value: policyKind },
        { names: "strict", args: 0 },
        ...POLICY_PARTS.map((names) => ({ names, negatable: true, multiple: true, value: POLICY_VALUES[names]! })),
        { names: "next", args: 0, multiple: true, needs: "strict" },
      ],
      print: printPolicy,
    },
    (options, given) => ({
      kind: "policy",
      options,
      dir: given.get("dir", policyDir)!,
      none: given.get("pol", policyKind) === "none",
    }),
  ),
  hooks: ({ dir }) => POLICY_HOOKS[dir],
};

const NODES_MOST = 32;
const nodes = integer(NODES_MOST, 1);

function readCluster(options: string, given: Given): ClusterMatch {
  const node = given.get("cluster-local-node", nodes);
  const mask = node === undefined ? given.get("cluster-local-nodemask", u32) : 2 ** (node - 1);
  return {
    kind: "cluster",
    options,
    nodes: given.get("cluster-total-nodes", nodes)!,
    mask: mask ?? given.fail("cluster needs --cluster-local-node or --cluster-local-nodemask"),
    seed: given.get("cluster-hash-seed", u32)!,
    negated: given.negated("cluster-local-node") || given.negated("cluster-local-nodemask"),
  };
}

const cluster = printedExtension<ClusterMatch>(
  {
    name: "cluster",
    options: [
      { names: "cluster-total-nodes", required: true, value: nodes },
      { names: "cluster-local-node", negatable: true, value: nodes, excludes: "cluster-local-nodemask" },
      {
        names: "cluster-local-nodemask",
        negatable: true,
        value: integer(types.U32_MAX, 1),
        excludes: "cluster-local-node",
      },
      { names: "cluster-hash-seed", required: true, value: u32 },
    ],
    print(given) {
      const match = readCluster("", given);
      if (match.mask >= 2 ** match.nodes) given.fail("the local node is beyond --cluster-total-nodes");
      const [local, seed] = [match.mask, match.seed].map((value) => hex32.print(value, 4));
      return `${not(match)} --cluster-local-nodemask ${local} --cluster-total-nodes ${match.nodes} --cluster-hash-seed ${seed}`;
    },
  },
  readCluster,
);

const IPVS_ALONE = "! --ipvs does not go with other options";
const vproto: Value<number> = { ...protocol, print: String };

const ipvs = opaqueMatch({
  name: "ipvs",
  options: [
    { names: "ipvs", args: 0, negatable: true },
    { names: "vproto", negatable: true, value: vproto },
    { names: "vaddr", negatable: true, value: hostMask },
    { names: "vport", negatable: true, value: port },
    { names: "vdir", value: oneOf(["ORIGINAL", "REPLY"], true) },
    { names: "vmethod", negatable: true, value: oneOf(["GATE", "IPIP", "MASQ"], true) },
    { names: "vportctl", negatable: true, value: port },
  ],
  check(given) {
    needsSome("ipvs needs one of its options")(given);
    if (given.settings.length > 1 && given.negated("ipvs")) given.fail(IPVS_ALONE, "ipvs");
  },
  print(given) {
    const shown = printGiven(given);
    return given.settings.length > 1 ? shown.replace(" --ipvs", "") : shown;
  },
});

const MOST_LABEL = 127;

const MATCHES_ALONE = [
  opaqueMatch({
    name: "helper",
    options: [{ names: "helper", negatable: true, required: true, value: string(29) }],
  }),
  opaqueMatch({ name: "cpu", options: [{ names: "cpu", negatable: true, required: true, value: u32 }] }),
  opaqueMatch({ name: "nfacct", options: [{ names: "nfacct-name", required: true, value: string(31, 1) }] }),
  opaqueMatch({
    name: "cgroup",
    hooks: ["INPUT", "OUTPUT", "POSTROUTING"],
    options: [
      { names: "path", negatable: true, value: string(4095), excludes: "cgroup" },
      { names: "cgroup", negatable: true, value: u32, excludes: "path" },
    ],
    check: needsSome("cgroup needs --path or --cgroup"),
  }),
  opaqueMatch({
    name: "connlabel",
    options: [
      {
        names: "label",
        negatable: true,
        required: true,
        value: { ...integer(MOST_LABEL), print: (label: number) => `"${label}"` },
      },
      { names: "set", args: 0 },
    ],
  }),
  opaqueMatch({
    name: "osf",
    family: 4,
    protos: [PROTO_TCP],
    hooks: ["PREROUTING", "INPUT", "FORWARD"],
    options: [
      { names: "genre", negatable: true, required: true, value: { ...string(31), print: (text: string) => text } },
      { names: "ttl", value: integer(2) },
      { names: "log", value: integer(2) },
    ],
  }),
];

const socket = printedExtension<SocketMatch>(
  {
    name: "socket",
    hooks: ["PREROUTING", "INPUT"],
    options: [
      { names: "transparent", args: 0 },
      { names: "nowildcard", args: 0 },
      { names: "restore-skmark", args: 0 },
    ],
  },
  (options) => ({ kind: "socket", options }),
);

export const MATCHES: readonly Extension<Match>[] = [
  ...[physdev, rpfilter, policy, cluster, ipvs, socket],
  ...MATCHES_ALONE,
];

// Targets

function watcher(form: OpaqueForm & { readonly name: WatcherTarget["kind"] }): Extension<WatcherTarget> {
  return printedExtension(form, (options) => ({ kind: form.name, options }));
}

const HMARK_TUPLES = [
  ["ct", null, 0],
  ["src", "src-prefix", 0],
  ["dst", "dst-prefix", 0],
  ["sport", "sport-mask", 0xffff],
  ["dport", "dport-mask", 0xffff],
  ["proto", "proto-mask", 0xffff],
  ["spi", "spi-mask", 0xffffffff],
] as const;

const HMARK_OPTIONS = [
  ["src-prefix", types.mask],
  ["dst-prefix", types.mask],
  ["sport-mask", hex16],
  ["dport-mask", hex16],
  ["spi-mask", hex32],
  ["sport", hex16],
  ["dport", hex16],
  ["spi", hex32],
  ["proto-mask", hex8],
  ["rnd", hex32],
  ["mod", integer(types.U32_MAX, 1)],
  ["offset", u32],
] as const;

/** What is said of each option, and whether the connection's tuple is asked. */
function readHmark(given: Given): { readonly said: ReadonlyMap<string, AnyAddress>; readonly ct: boolean } {
  const said = new Map<string, AnyAddress>();
  for (const [name, value] of HMARK_OPTIONS) {
    const got = given.get<AnyAddress>(`hmark-${name}`, value);
    if (got !== undefined) said.set(name, got);
  }
  let ct = false;
  for (const item of given.find("hmark-tuple")?.argument.split(",") ?? []) {
    const found = HMARK_TUPLES.find(([name]) => item !== "" && name.startsWith(item.toLowerCase()));
    if (found === undefined) return given.fail(`"${item}" is no part of a tuple`, "hmark-tuple");
    const [, mask, all] = found;
    if (mask === null) ct = true;
    else
      said.set(
        mask,
        mask.endsWith("prefix")
          ? types.mask.read(given.line, given.word, given.family === 6 ? "128" : "32", given.family)
          : all,
      );
  }
  if (!said.has("mod") || !said.has("rnd")) given.fail("HMARK needs --hmark-mod and --hmark-rnd");
  if (said.has("spi-mask") && (said.has("sport-mask") || said.has("dport-mask"))) {
    given.fail("a mask of the SPI does not go with masks of ports");
  }
  const masks = ["src-prefix", "dst-prefix", "sport-mask", "dport-mask", "proto-mask", "spi-mask"];
  if (!ct && !masks.some((name) => said.has(name))) given.fail("HMARK needs --hmark-tuple at least");
  return { said, ct };
}

const HMARK = printedExtension<HmarkTarget>(
  {
    name: "HMARK",
    options: [
      { names: "hmark-tuple" },
      ...HMARK_OPTIONS.map(([name, value]) => ({ names: `hmark-${name}`, value: value })),
    ],
    print(given) {
      const { said, ct } = readHmark(given);
      const shown = HMARK_OPTIONS.flatMap(([name, value]) => {
        const got = said.get(name);
        return got === undefined ? [] : [` --hmark-${name} ${(value as Value<AnyAddress>).print(got, given.family)}`];
      });
      return shown.join("") + (ct ? " --hmark-tuple ct" : "");
    },
  },
  (options, given) => {
    const { said, ct } = readHmark(given);
    const number = (name: string): number => Number(said.get(name) ?? 0);
    const both = (one: string, other: string): number => (number(one) * 65536 + number(other)) >>> 0;
    return {
      kind: "HMARK",
      options,
      ct,
      srcMask: number("src-prefix"),
      dstMask: number("dst-prefix"),
      portMask: said.has("spi-mask") ? number("spi-mask") : both("sport-mask", "dport-mask"),
      portSet: said.has("spi") ? number("spi") : both("sport", "dport"),
      protoMask: number("proto-mask"),
      seed: number("rnd"),
      modulus: number("mod"),
      offset: number("offset"),
    };
  },
);

const QUEUE_MOST = 65534;

const NFQUEUE = printedExtension<QueueTarget>(
  {
    name: "NFQUEUE",
    options: [
      { names: "queue-num", value: u16, excludes: "queue-balance" },
      { names: "queue-balance", excludes: "queue-num" },
      { names: "queue-bypass", args: 0 },
      { names: "queue-cpu-fanout", args: 0, needs: "queue-balance" },
    ],
    print(given) {
      const setting = given.find("queue-balance");
      let queues = ` --queue-num ${given.get("queue-num", u16) ?? 0}`;
      if (setting !== undefined) {
        const [first, last, more] = setting.argument.split(":");
        const queue = (text: string, without: number): number =>
          text === "" ? without : integer(QUEUE_MOST).read(given.line, setting.word, text, given.family);
        if (last === undefined || more !== undefined)
          return given.fail("--queue-balance takes a range FIRST:LAST", "queue-balance");
        const [lo, hi] = [queue(first!, 0), queue(last, QUEUE_MOST)];
        if (lo >= hi) given.fail("the range of queues must rise", "queue-balance");
        queues = ` --queue-balance ${lo}:${hi}`;
      }
      return (
        queues +
        (given.has("queue-bypass") ? " --queue-bypass" : "") +
        (given.has("queue-cpu-fanout") ? " --queue-cpu-fanout" : "")
      );
    },
  },
  (options, given) => ({ kind: "NFQUEUE", options, bypass: given.has("queue-bypass") }),
);

const TPROXY = printedExtension<TproxyTarget>(
  {
    name: "TPROXY",
    tables: ["mangle"],
    hooks: ["PREROUTING"],
    protos: [PROTO_TCP, PROTO_UDP],
    options: [
      { names: "on-port", required: true, value: port },
      { names: "on-ip", value: host },
      { names: "tproxy-mark", value: mark },
    ],
    print(given) {
      const ip = host.print(given.get("on-ip", host) ?? (given.family === 6 ? 0n : 0), given.family);
      const { value, mask } = given.get("tproxy-mark", mark) ?? { value: 0, mask: 0 };
      return ` --on-port ${given.get("on-port", port)!} --on-ip ${ip} --tproxy-mark ${hex(value)}/${hex(mask)}`;
    },
  },
  (options) => ({ kind: "TPROXY", options }),
);

const SYNPROXY = opaqueTarget({
  name: "SYNPROXY",
  protos: [PROTO_TCP],
  hooks: ["INPUT", "FORWARD"],
  options: [
    { names: "sack-perm", args: 0 },
    { names: "timestamp", args: 0 },
    { names: "wscale", value: u32 },
    { names: "mss", value: u32 },
    { names: "ecn", args: 0 },
  ],
});

/** `250ms`, `1s`, `500us`, in microseconds. */
const duration: Value<number> = {
  read(line, index, text) {
    const [, number, unit] = /^(\d+(?:\.\d+)?)(s|secs?|ms|msecs?|us|usecs?)?$/i.exec(text) ?? [];
    if (number === undefined) return line.fail(`"${text}" is no duration: a number with s, ms or us`, index);
    const letter = (unit ?? "us").toLowerCase();
    return Math.floor(Number(number) * (letter.startsWith("s") ? 1_000_000 : letter.startsWith("ms") ? 1000 : 1));
  },
  print: String,
};

function showDuration(micros: number): string {
  if (micros >= 1_000_000) return `${(micros / 1_000_000).toFixed(1)}s`;
  return micros >= 1000 ? `${(micros / 1000).toFixed(1)}ms` : `${micros}us`;
}

const QUARTER_SECOND = 250_000;
const INTERVALS_MOST = 5;

const RATEEST = watcher({
  name: "RATEEST",
  options: [
    { names: "rateest-name", required: true, value: word },
    { names: "rateest-interval", required: true, value: duration },
    { names: "rateest-ewmalog", required: true, value: duration },
  ],
  // RATEEST_final_check(): both are rounded to powers of two
  print(given) {
    const said = given.get("rateest-interval", duration)!;
    const wanted = given.get("rateest-ewmalog", duration)!;
    let interval = 0;
    while (interval <= INTERVALS_MOST && said > QUARTER_SECOND * 2 ** interval) interval++;
    if (interval > INTERVALS_MOST) given.fail("the interval is too large", "rateest-interval");
    let ewma = 1;
    while (ewma < 32 && said / -Math.log(1 - 1 / 2 ** ewma) <= wanted) ewma++;
    ewma--;
    if (ewma === 0 || ewma >= 31) given.fail("--rateest-ewmalog is out of range", "rateest-ewmalog");
    const step = QUARTER_SECOND * 2 ** interval;
    const name = given.need("rateest-name").argument;
    return ` --rateest-name ${name} --rateest-interval ${showDuration(step)} --rateest-ewmalog ${showDuration(step * 2 ** ewma)}`;
  },
});

const CLUSTERIP = opaqueTarget({
  name: "CLUSTERIP",
  family: 4,
  hooks: ["INPUT"],
  options: [
    { names: "new", args: 0 },
    {
      names: "hashmode",
      value: oneOf(["sourceip", "sourceip-sourceport", "sourceip-sourceport-destport"]),
      needs: "new",
    },
    {
      names: "clustermac",
      value: { ...mac, print: (value: number) => mac.print(value, 4).toUpperCase() },
      needs: "new",
    },
    { names: "total-nodes", value: integer(16), needs: "new" },
    { names: "local-node", value: integer(16), needs: "new" },
    { names: "hash-init", value: u32, needs: "new" },
  ],
  check(given) {
    if (
      given.settings.length > 0 &&
      !["hashmode", "clustermac", "total-nodes", "local-node"].every((key) => given.has(key))
    ) {
      given.fail("CLUSTERIP needs --new --hashmode --clustermac --total-nodes --local-node, or nothing");
    }
  },
});

const ulogPrefix = string(Number.POSITIVE_INFINITY, 1);
const ULOG = watcher({
  name: "ULOG",
  family: 4,
  options: [
    {
      names: "ulog-prefix",
      value: { ...ulogPrefix, print: (text: string) => quote(types.truncate(text, 31)) },
    },
    { names: "ulog-nlgroup", value: { ...integer(32, 1), idle: "1" } },
    { names: "ulog-cprange", value: { ...u32, idle: "0" } },
    { names: "ulog-qthreshold", value: { ...integer(50, 1), idle: "1" } },
  ],
});

const LED_ID_BYTES = 17;
const ledDelay: Value<string> = {
  read(line, index, text, family) {
    if (text.toLowerCase().startsWith("inf")) return "inf";
    return String(u32.read(line, index, text, family));
  },
  print: (text) => text,
  idle: "0",
};

const QUEUE = printedExtension<QueueTarget>({ name: "QUEUE" }, (options) => ({
  kind: "QUEUE",
  options,
  bypass: false,
}));

const TARGETS_ALONE = [
  watcher({
    name: "AUDIT",
    options: [{ names: "type", required: true, value: oneOf(["accept", "drop", "reject"]) }],
  }),
  watcher({
    name: "CONNSECMARK",
    tables: ["mangle", "security"],
    options: [
      { names: "save", args: 0, excludes: "restore" },
      { names: "restore", args: 0, excludes: "save" },
    ],
    check: needsSome("CONNSECMARK needs --save or --restore"),
  }),
  watcher({
    name: "SECMARK",
    tables: ["mangle", "security"],
    options: [{ names: "selctx", required: true, value: word }],
  }),
  watcher({
    name: "IDLETIMER",
    options: [
      { names: "timeout", required: true, value: integer(types.U32_MAX, 1) },
      { names: "label", required: true, value: { ...string(27, 1), print: (text: string) => text } },
      { names: "alarm", args: 0 },
    ],
  }),
  watcher({
    name: "LED",
    options: [
      {
        names: "led-trigger-id",
        required: true,
        value: { ...string(LED_ID_BYTES), print: (text: string) => always.print(text, 4) },
      },
      { names: "led-delay", value: ledDelay },
      { names: "led-always-blink", args: 0 },
    ],
  }),
  opaqueTarget({
    name: "TEE",
    options: [
      { names: "gateway", required: true, value: host },
      { names: "oif", value: word },
    ],
  }),
];

export const TARGETS: readonly Extension<Target>[] = [
  ...[HMARK, QUEUE, NFQUEUE, TPROXY, SYNPROXY, RATEEST, CLUSTERIP, ULOG],
  ...TARGETS_ALONE,
];
