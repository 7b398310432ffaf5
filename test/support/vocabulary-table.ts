// What is done with each match and target of iptables, as a table: npx tsx test/support/vocabulary-table.ts writes it anew.
//
// Nothing is said by hand: the names are those of the parser, a sample rule of each is parsed, printed and parsed again, and
// offered to be run; what the kernel was asked about are the rules of recorded cases and of the worlds that tests draw.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { matchesOf } from "../../src/rules/matches.ts";
import { refuseUnmodelled } from "../../src/rules/modelled.ts";
import { nameOfMatch } from "../../src/rules/names.ts";
import { parseRuleset } from "../../src/rules/parse.ts";
import { printRule } from "../../src/rules/print.ts";
import { rulesOf } from "../../src/rules/ruleset.ts";
import type { Family, IpSet, Rule, Ruleset } from "../../src/rules/ruleset.ts";
import { targetsOf } from "../../src/rules/targets.ts";
import { rulesetOf } from "./compare.ts";
import { drawKernelWorld } from "./kernel-arbitrary.ts";
import { drawSetWorld } from "./ipset-world.ts";
import { readKernelCases } from "./kernel-case.ts";
import { drawKernelSequence } from "./kernel-sequence.ts";
import { drawKernelWords } from "./kernel-words.ts";

const TABLE = fileURLToPath(new URL("../../examples/coverage.md", import.meta.url));
const CASES = fileURLToPath(new URL("../oracle/cases", import.meta.url));

/** Of a module: a rule behind `-A CHAIN`, and its chain and table where that is not FORWARD of mangle. */
type Sample = readonly [rule: string, chain?: string, table?: string];

const MATCH_SAMPLES: Readonly<Record<string, Sample>> = {
  addrtype: ["-m addrtype --dst-type LOCAL"],
  ah: ["-p ah -m ah --ahspi 1"],
  bpf: ['-m bpf --bytecode "1,6 0 0 1"'],
  cgroup: ["-m cgroup --cgroup 1", "OUTPUT"],
  cluster: ["-m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 7"],
  comment: ["-m comment --comment words"],
  connbytes: ["-m connbytes --connbytes 10:20 --connbytes-mode bytes --connbytes-dir both"],
  connlabel: ["-m connlabel --label 3"],
  connlimit: ["-m connlimit --connlimit-above 3"],
  connmark: ["-m connmark --mark 1"],
  conntrack: ["-m conntrack --ctstate NEW"],
  cpu: ["-m cpu --cpu 0"],
  dccp: ["-p dccp -m dccp --dccp-types REQUEST"],
  devgroup: ["-m devgroup --src-group 1"],
  dscp: ["-m dscp --dscp 10"],
  dst: ["-m dst --dst-len 8"],
  ecn: ["-m ecn --ecn-ip-ect 1"],
  esp: ["-p esp -m esp --espspi 1"],
  eui64: ["-m eui64"],
  frag: ["-m frag --fragfirst"],
  hashlimit: ["-m hashlimit --hashlimit-upto 1/sec --hashlimit-mode srcip --hashlimit-name words"],
  hbh: ["-m hbh --hbh-len 8"],
  helper: ["-m helper --helper ftp"],
  hl: ["-m hl --hl-eq 1"],
  icmp: ["-p icmp -m icmp --icmp-type 8"],
  icmp6: ["-p ipv6-icmp -m icmp6 --icmpv6-type 128"],
  ipcomp: ["-p ipcomp -m ipcomp --ipcompspi 1"],
  iprange: ["-m iprange --src-range 10.0.0.1-10.0.0.9"],
  ipv6header: ["-m ipv6header --header frag --soft"],
  ipvs: ["-m ipvs --ipvs"],
  length: ["-m length --length 20:30"],
  limit: ["-m limit --limit 1/sec"],
  mac: ["-m mac --mac-source 02:00:00:00:00:01"],
  mark: ["-m mark --mark 1"],
  mh: ["-p mh -m mh --mh-type 1"],
  multiport: ["-p tcp -m multiport --dports 80,443"],
  nfacct: ["-m nfacct --nfacct-name words"],
  osf: ["-p tcp -m osf --genre Linux"],
  owner: ["-m owner --uid-owner 0", "OUTPUT"],
  physdev: ["-m physdev --physdev-is-bridged"],
  pkttype: ["-m pkttype --pkt-type unicast"],
  policy: ["-m policy --dir in --pol none"],
  quota: ["-m quota --quota 1000"],
  rateest: ["-m rateest --rateest words --rateest-gt --rateest-bps 1000bit"],
  realm: ["-m realm --realm 1"],
  recent: ["-m recent --set --name words"],
  rpfilter: ["-m rpfilter", "PREROUTING"],
  rt: ["-m rt --rt-type 0"],
  sctp: ["-p sctp -m sctp --chunk-types any DATA"],
  set: ["-m set --match-set words src"],
  socket: ["-m socket", "PREROUTING"],
  srh: ["-m srh --srh-segs-left-eq 1"],
  state: ["-m state --state NEW"],
  statistic: ["-m statistic --mode nth --every 2 --packet 0"],
  string: ["-m string --string words --algo bm"],
  tcp: ["-p tcp -m tcp --dport 80"],
  tcpmss: ["-p tcp -m tcpmss --mss 1:500"],
  time: ["-m time --timestart 12:00"],
  tos: ["-m tos --tos 0x10"],
  ttl: ["-m ttl --ttl-eq 1"],
  u32: ['-m u32 --u32 "0=1"'],
  udp: ["-p udp -m udp --dport 53"],
};

const TARGET_SAMPLES: Readonly<Record<string, Sample>> = {
  AUDIT: ["-j AUDIT --type accept"],
  CHECKSUM: ["-j CHECKSUM --checksum-fill"],
  CLASSIFY: ["-j CLASSIFY --set-class 1:2"],
  CLUSTERIP: [
    "-d 10.0.0.1 -j CLUSTERIP --new --hashmode sourceip --clustermac 01:00:5e:00:00:01 --total-nodes 2 --local-node 1",
    ...(["INPUT", "filter"] as const),
  ],
  CONNMARK: ["-j CONNMARK --save-mark"],
  CONNSECMARK: ["-j CONNSECMARK --save"],
  CT: ["-j CT --notrack", "PREROUTING", "raw"],
  DNAT: ["-j DNAT --to-destination 10.0.0.1", "PREROUTING", "nat"],
  DNPT: ["-j DNPT --src-pfx fd00::/64 --dst-pfx fd01::/64", "PREROUTING"],
  DSCP: ["-j DSCP --set-dscp 10"],
  ECN: ["-p tcp -j ECN --ecn-tcp-remove"],
  HL: ["-j HL --hl-set 1"],
  HMARK: ["-j HMARK --hmark-tuple src,dst --hmark-mod 10 --hmark-offset 1 --hmark-rnd 7"],
  IDLETIMER: ["-j IDLETIMER --timeout 600 --label words"],
  LED: ["-j LED --led-trigger-id words"],
  LOG: ["-j LOG"],
  MARK: ["-j MARK --set-mark 1"],
  MASQUERADE: ["-j MASQUERADE", "POSTROUTING", "nat"],
  NETMAP: ["-j NETMAP --to 10.0.0.0/24", "PREROUTING", "nat"],
  NFLOG: ["-j NFLOG"],
  NFQUEUE: ["-j NFQUEUE --queue-num 1"],
  NOTRACK: ["-j NOTRACK", "PREROUTING", "raw"],
  QUEUE: ["-j QUEUE"],
  RATEEST: ["-j RATEEST --rateest-name words --rateest-interval 250ms --rateest-ewmalog 500ms"],
  REDIRECT: ["-p tcp -j REDIRECT --to-ports 80", "PREROUTING", "nat"],
  REJECT: ["-j REJECT", "FORWARD", "filter"],
  SECMARK: ["-j SECMARK --selctx system_u:object_r:packet_t:s0"],
  SET: ["-j SET --add-set words src"],
  SNAT: ["-j SNAT --to-source 10.0.0.1", "POSTROUTING", "nat"],
  SNPT: ["-j SNPT --src-pfx fd00::/64 --dst-pfx fd01::/64", "POSTROUTING"],
  SYNPROXY: ["-p tcp -j SYNPROXY --mss 1460", "FORWARD", "filter"],
  TCPMSS: ["-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 500"],
  TCPOPTSTRIP: ["-p tcp -j TCPOPTSTRIP --strip-options 2"],
  TEE: ["-j TEE --gateway 10.0.0.1"],
  TOS: ["-j TOS --set-tos 0x10"],
  TPROXY: ["-p tcp -j TPROXY --on-port 80", "PREROUTING"],
  TRACE: ["-j TRACE", "PREROUTING", "raw"],
  TTL: ["-j TTL --ttl-set 1"],
  ULOG: ["-j ULOG"],
};

/** Addresses of the other family in their place. */
const IN_IPV6: readonly (readonly [RegExp, string])[] = [
  [/10\.0\.0\.1-10\.0\.0\.9/, "fd00::1-fd00::9"],
  [/10\.0\.0\.0\/24/, "fd00::/64"],
  [/10\.0\.0\.1/, "fd00::1"],
];

const SETS: readonly IpSet[] = [
  {
    ...{
      name: "words",
      type: "hash:ip",
      family: 4,
      netmask: 0xffffffff,
      markmask: 0xffffffff,
      timeout: null,
      range: null,
    },
    ...{ most: 65536, counters: false, forceadd: false, elements: [] },
  },
];

/** Throws where the sample is refused. */
function parseSample([rule, chain = "FORWARD", table = "mangle"]: Sample, family: Family): Ruleset {
  const words = family === 4 ? rule : IN_IPV6.reduce((text, [from, to]) => text.replace(from, to), rule);
  const header = family === 4 ? "" : "# Generated by ip6tables-save v1.8.9\n";
  return parseRuleset(`${header}*${table}\n-A ${chain} ${words}\nCOMMIT\n`, { file: "sample" });
}

function isPrinted(ruleset: Ruleset, [, chain = "FORWARD", table = "mangle"]: Sample): boolean {
  const text = printRule(chain, rulesOf(ruleset)[0]!);
  const header = ruleset.family === 4 ? "" : "# Generated by ip6tables-save v1.8.9\n";
  const again = parseRuleset(`${header}*${table}\n${text}\nCOMMIT\n`, { file: "printed" });
  return printRule(chain, rulesOf(again)[0]!) === text;
}

/** The rule set runs as it is. */
function isModelled(ruleset: Ruleset): boolean {
  try {
    refuseUnmodelled({ ...ruleset, sets: SETS });
    return true;
  } catch (error) {
    if (error instanceof Error && error.name === "RuleError") return false;
    throw error;
  }
}

/** Worlds of each kind of which the rules are looked through. */
const WORLDS = 40;

function wordsOf({ matches, target }: Rule): readonly string[] {
  const named = target === null ? [] : [`-j ${target.kind === "opaque" ? target.name : target.kind}`];
  return [...matches.map((match) => `-m ${nameOfMatch(match)}`), ...named];
}

/** Of all rules that tests ask a kernel about. */
function wordsAsked(): ReadonlySet<string> {
  const seeds = Array.from({ length: WORLDS }, (_, index) => index + 1);
  const asked = [
    ...readKernelCases(CASES),
    ...seeds.flatMap((seed) => [
      drawKernelWorld(seed, 1),
      drawKernelSequence(seed, 1, seed % 2 === 0),
      drawKernelWords(seed, 1),
      drawSetWorld(seed, 1, false),
    ]),
  ];
  return new Set(asked.flatMap((question) => rulesOf(rulesetOf(question)).flatMap(wordsOf)));
}

interface Row {
  readonly name: string;
  readonly cells: readonly string[];
}

function rowsOf(
  option: string,
  names: (family: Family) => readonly string[],
  samples: Readonly<Record<string, Sample>>,
  asked: ReadonlySet<string>,
): readonly Row[] {
  const [four, six] = [new Set(names(4)), new Set(names(6))];
  return [...new Set([...four, ...six])].sort().map((name) => {
    const sample = samples[name];
    if (sample === undefined) throw new Error(`there is no sample of ${option} ${name}`);
    const families = ([4, 6] as const).filter((family) => (family === 4 ? four : six).has(name));
    const parsed = families.map((family) => parseSample(sample, family));
    const isNamed = parsed.every((ruleset) => wordsOf(rulesOf(ruleset)[0]!).includes(`${option} ${name}`));
    if (!isNamed) throw new Error(`the sample of ${option} ${name} does not name it`);
    const printed = parsed.every((ruleset) => isPrinted(ruleset, sample));
    const family = families.map((each) => `v${each}`).join(", ");
    const told = [printed, isModelled(parsed[0]!), asked.has(`${option} ${name}`)].map((is) => (is ? "yes" : "-"));
    return { name, cells: [family, ...told] };
  });
}

/** The whole file. */
export function vocabularyTable(): string {
  const asked = wordsAsked();
  const namesOf = (extensions: Iterable<{ readonly name: string }>): readonly string[] =>
    [...extensions].map(({ name }) => name);
  const matches = rowsOf("-m", (family) => namesOf(matchesOf(family)), MATCH_SAMPLES, asked);
  const targets = rowsOf("-j", (family) => namesOf(targetsOf(family)), TARGET_SAMPLES, asked);
  const table = (title: string, rows: readonly Row[]): string =>
    [
      `| ${title} | parsed | printed | run | asked of a kernel |`,
      "| --- | --- | --- | --- | --- |",
      ...rows.map(({ name, cells }) => `| ${name} | ${cells.join(" | ")} |`),
    ].join("\n");
  const run = [...matches, ...targets].filter(({ cells }) => cells[2] === "yes").length;
  return [
    "# What is done with each match and target",
    "Written by `test/support/vocabulary-table.ts` from the code itself, held to it by a test. Run are rules of IPv4; of some that are,",
    "single options are refused, which the README names under Limits. The kernel was asked by recorded cases and by random rule sets.",
    `Of ${matches.length + targets.length} modules, ${run} are run; ACCEPT, DROP, RETURN and user chains besides.`,
    "",
    table("match", matches),
    "",
    table("target", targets),
    "",
  ]
    .join("\n")
    .replace("target\n", "target\n\n");
}

export function storedTable(): string {
  return readFileSync(TABLE, "utf8");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(TABLE, vocabularyTable());
