// REJECT: drops the packet and says so to its sender.
//
// Follows libipt_REJECT.c and libip6t_REJECT.c of iptables 1.8.9.

import { optionsOf, type Extension } from "../extension.ts";
import { opaqueTarget } from "../opaque.ts";
import type { RejectKind, RejectTarget, Target } from "../ruleset.ts";
import type { Value } from "../types.ts";

const REJECT: Extension<RejectTarget> = {
  name: "REJECT",
  options: optionsOf([{ names: "reject-with" }]),
  family: 4,
  tables: ["filter"],
  read(given) {
    const { line } = given;
    const setting = given.find("reject-with");
    if (setting === undefined) return { kind: "REJECT", with: "icmp-port-unreachable" };
    const wanted = setting.argument.toLowerCase();
    const found = REJECT_NAMES.find(([name, alias]) => name.startsWith(wanted) || alias.startsWith(wanted));
    if (found === undefined || wanted === "") {
      const names = REJECT_NAMES.map(([name]) => name).join(", ");
      return line.fail(`"${setting.argument}" is no answer: ${names}`, setting.word);
    }
    return { kind: "REJECT", with: found[0] };
  },
  print: (target) => ` --reject-with ${target.with}`,
};

/** With the short forms; an abbreviation means the first that fits. */
const REJECT_NAMES: readonly (readonly [RejectKind, string])[] = [
  ["icmp-net-unreachable", "net-unreach"],
  ["icmp-host-unreachable", "host-unreach"],
  ["icmp-proto-unreachable", "proto-unreach"],
  ["icmp-port-unreachable", "port-unreach"],
  ["icmp-net-prohibited", "net-prohib"],
  ["icmp-host-prohibited", "host-prohib"],
  ["tcp-reset", "tcp-rst"],
  ["icmp-admin-prohibited", "admin-prohib"],
];

/** Of IPv6, with the short forms. */
const REJECT6_NAMES: readonly (readonly [string, string])[] = [
  ["icmp6-no-route", "no-route"],
  ["icmp6-adm-prohibited", "adm-prohibited"],
  ["icmp6-addr-unreachable", "addr-unreach"],
  ["icmp6-port-unreachable", "port-unreach"],
  ["tcp-reset", "tcp-reset"],
  ["icmp6-policy-fail", "policy-fail"],
  ["icmp6-reject-route", "reject-route"],
];

const reject6: Value<string> = {
  read(line, word, text) {
    const wanted = text.toLowerCase();
    const found = REJECT6_NAMES.find(([name, alias]) => name.startsWith(wanted) || alias.startsWith(wanted));
    if (found !== undefined && wanted !== "") return found[0];
    return line.fail(`"${text}" is no answer: ${REJECT6_NAMES.map(([name]) => name).join(", ")}`, word);
  },
  print: (name) => name,
};

const REJECT6 = opaqueTarget({
  name: "REJECT",
  family: 6,
  tables: ["filter"],
  options: [{ names: "reject-with", value: reject6 }],
  print: (given) => ` --reject-with ${given.get("reject-with", reject6) ?? "icmp6-port-unreachable"}`,
});

export const TARGETS: readonly Extension<Target>[] = [REJECT, REJECT6];
