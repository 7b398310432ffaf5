// Targets that translate addresses and ports.
//
// Follows libxt_NAT.c, libipt_NETMAP.c and libip6t_NETMAP.c of iptables 1.8.9.

import { formatAddress, formatMask, parseAddress } from "../../net/address.ts";
import { formatAddress6, formatMask6, parseAddress6 } from "../../net/address6.ts";
import { parseNumber } from "../../net/number.ts";
import { PROTO_DCCP, PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP } from "../../net/protocol.ts";
import { servicePort } from "../../net/service.ts";
import { optionsOf, type Extension, type Given, type OptionForm, type Setting } from "../extension.ts";
import type { Line } from "../line.ts";
import { opaqueTarget } from "../opaque.ts";
import type { Hook, NatRange, NetmapTarget, Target } from "../ruleset.ts";
import { hostMask, printRange } from "../types.ts";

type RangeTarget = Extract<Target, { readonly range: NatRange }>;

/** Where targets may stand (struct xt_target, .hooks), and what they are told. */
const FORMS = [
  ["DNAT", ["PREROUTING", "OUTPUT"], "to-destination", "random persistent"],
  ["SNAT", ["POSTROUTING", "INPUT"], "to-source", "random random-fully persistent"],
  ["MASQUERADE", ["POSTROUTING"], "to-ports", "random random-fully"],
  ["REDIRECT", ["PREROUTING", "OUTPUT"], "to-ports", "random"],
] as const satisfies readonly (readonly [RangeTarget["kind"], readonly Hook[], string, string])[];

const rangeTargets = FORMS.flatMap(([kind, hooks, to, flags]): Extension<Target>[] => {
  const required = kind === "DNAT" || kind === "SNAT";
  const options = optionsOf([
    { names: to, required },
    ...flags.split(" ").map((names): OptionForm => ({ names, args: 0 })),
  ]);
  const read = (given: Given): ReadRange => {
    const setting = given.find(to);
    const said =
      setting === undefined
        ? NOTHING
        : required
          ? readTo(given, setting, kind === "DNAT")
          : readToPorts(given, setting);
    return { ...said, ...readFlags(given) };
  };
  const shared = { name: kind, asksProto: true, tables: ["nat"], hooks: () => hooks, options } as const;
  const four: Extension<Target> = {
    ...shared,
    family: 4,
    read: (given) => ({ kind, range: read(given) as NatRange }),
    print: (target) => printNat(to, (target as RangeTarget).range, required),
  };
  const six: Extension<Target> = {
    ...shared,
    family: 6,
    read: (given) => ({ kind: "opaque", name: kind, options: printNat(to, read(given), required) }),
    print: (target) => (target.kind === "opaque" ? target.options : ""),
  };
  return [four, six];
});

/** As NatRange; addresses of IPv6 are bigints. */
interface ReadRange extends Omit<NatRange, "addresses"> {
  readonly addresses: { readonly lo: number | bigint; readonly hi: number | bigint } | null;
}

type Flags = Pick<NatRange, "random" | "randomFully" | "persistent">;
type PortMap = Pick<NatRange, "ports" | "basePort">;

const NO_PORTS: PortMap = { ports: null, basePort: null };
const NOTHING = { addresses: null, ...NO_PORTS };

function readFlags(given: Given): Flags {
  return {
    random: given.has("random"),
    randomFully: given.has("random-fully"),
    persistent: given.has("persistent"),
  };
}

function readToPorts(given: Given, to: Setting): PortMap & { addresses: null } {
  return { addresses: null, ...readPortMap(given.line, to, to.argument, false) };
}

/** `ADDRESS[-ADDRESS][:PORTS]` or `:PORTS`; IPv6 `ADDRESS[-ADDRESS]` or `[ADDRESS[-ADDRESS]]:PORTS` (parse_to()). */
function readTo(given: Given, to: Setting, shift: boolean): PortMap & Pick<ReadRange, "addresses"> {
  const { line, family } = given;
  const text = to.argument;
  const bracketed = /^\[([^\]]*)\](:(.*))?$/.exec(text);
  if (text.includes("[") && (family === 4 || bracketed === null)) line.fail(`"${text}" is no address`, to.word);
  const colon = text.indexOf(":") === text.lastIndexOf(":") ? text.indexOf(":") : -1;
  const ports = bracketed !== null ? bracketed[3] : colon < 0 ? undefined : text.slice(colon + 1);
  const host = bracketed !== null ? bracketed[1]! : colon < 0 ? text : text.slice(0, colon);
  const map = ports === undefined ? NO_PORTS : readPortMap(line, to, ports, shift);
  if (host === "" && ports !== undefined) return { addresses: null, ...map };

  const dash = host.indexOf("-");
  const [lo, hi] = (dash < 0 ? [host, host] : [host.slice(0, dash), host.slice(dash + 1)]).map((address) => {
    const value = family === 6 ? parseAddress6(address) : parseAddress(address);
    return value ?? line.failPart(`"${address}" is no IPv${family} address`, to.word, address);
  });
  if (lo! > hi!) line.failPart(`the range ${host} is empty`, to.word, host);
  return { addresses: { lo: lo!, hi: hi! }, ...map };
}

/** Protocols whose ports (for ICMP: ids) can be mapped. The option asks what `-p` has said before it, negated or not. */
const MAPPED_PROTOCOLS: readonly number[] = [PROTO_TCP, PROTO_UDP, PROTO_SCTP, PROTO_DCCP, PROTO_ICMP];

/** `PORT`, `LO-HI`, and for DNAT `LO-HI/BASE` (parse_ports() in libxt_NAT.c). */
function readPortMap(line: Line, setting: Setting, text: string, shift: boolean): PortMap {
  const { word } = setting;
  if (!MAPPED_PROTOCOLS.includes(setting.proto)) {
    line.fail("ports need -p tcp, udp, sctp, dccp or icmp in front of this option", word);
  }
  const service = servicePort(text);
  if (service !== null) return { ports: { lo: service, hi: service }, basePort: null };
  // no service names in a range, but for the base
  const [, first = "", last = first, base] = /^(\w+)(?:-(\w+)(?:\/([\w-]+))?)?$/.exec(text) ?? [];
  const lo = parseNumber(first, 65535);
  const hi = parseNumber(last, 65535);
  if (lo === null || hi === null) {
    return line.failPart(`"${text}" is no port and no range: PORT or LO-HI, 0..65535`, word, text);
  }
  if (lo > hi) line.failPart(`the range ${text} is empty`, word, text);
  if (base === undefined) return { ports: { lo, hi }, basePort: null };
  if (!shift) line.failPart("only DNAT shifts ports by /BASE", word, text);
  const port = parseNumber(base, 65535) ?? servicePort(base);
  if (port === null || port === 0) return line.failPart(`"${base}" is no port in 1..65535`, word, base);
  return { ports: { lo, hi }, basePort: port };
}

function printNat(to: string, { addresses, ports, basePort, ...flags }: ReadRange, full: boolean): string {
  let text = addresses === null ? "" : printAddresses(addresses, ports !== null);
  if (ports !== null) text += (full ? ":" : "") + printRange(ports, "-");
  if (basePort !== null) text += `/${basePort}`;
  return (
    (text === "" ? "" : ` --${to} ${text}`) +
    (flags.random ? " --random" : "") +
    (flags.randomFully ? " --random-fully" : "") +
    (flags.persistent ? " --persistent" : "")
  );
}

function printAddresses({ lo, hi }: NonNullable<ReadRange["addresses"]>, ports: boolean): string {
  const six = typeof lo === "bigint";
  const print = (address: number | bigint): string =>
    typeof address === "bigint" ? formatAddress6(address) : formatAddress(address);
  const text = lo === hi ? print(lo) : `${print(lo)}-${print(hi)}`;
  return six && ports ? `[${text}]` : text;
}

const NETMAP_HOOKS: readonly Hook[] = ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"];
const NETMAP_OPTIONS: readonly OptionForm[] = [{ names: "to", required: true, value: hostMask }];

const NETMAP: Extension<NetmapTarget> = {
  name: "NETMAP",
  family: 4,
  tables: ["nat"],
  hooks: () => NETMAP_HOOKS,
  options: optionsOf(NETMAP_OPTIONS),
  read(given) {
    const to = given.get("to", hostMask)!;
    const mask = Number(to.mask);
    return { kind: "NETMAP", address: (Number(to.address) & mask) >>> 0, mask };
  },
  print: ({ address, mask }) => ` --to ${formatAddress(address)}/${formatMask(mask)}`,
};

const NETMAP6 = opaqueTarget({
  name: "NETMAP",
  family: 6,
  tables: ["nat"],
  hooks: NETMAP_HOOKS,
  options: NETMAP_OPTIONS,
  print(given) {
    const { address, mask } = given.get("to", hostMask)! as { address: bigint; mask: bigint };
    return ` --to ${formatAddress6(address & mask)}/${formatMask6(mask)}`;
  },
});

export const TARGETS: readonly Extension<Target>[] = [...rangeTargets, NETMAP, NETMAP6];
