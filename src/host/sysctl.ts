// Sysctl lines -> what holds for each interface in the end.
//
// Values are written one after the other, as the kernel takes them: `all/forwarding` and ip_forward overwrite those of
// all interfaces, but only if they change (devinet_sysctl_forward() in net/ipv4/devinet.c); `default` is for interfaces
// that come later, and there are none. How `all` and the interface are combined: the IN_DEV_ macros of
// include/linux/inetdevice.h.

import { parseNumber } from "../net/number.ts";
import type { Field } from "./field.ts";
import type { Host, Interface } from "./host.ts";
import { isTimeout, timeoutsOf } from "./timeouts.ts";

export type InterfaceSysctls = Pick<
  Interface,
  "rpFilter" | "acceptLocal" | "routeLocalnet" | "forwarding" | "sendRedirects" | "acceptSourceRoute" | "srcValidMark"
>;
export type HostSysctls = Pick<
  Host,
  "ipForward" | "tcpLoose" | "conntrackChecksum" | "defaultTtl" | "fragmentSeconds" | "timeouts"
>;

/** What is modelled below net/ipv4/conf/NAME. */
const CONF = [
  "forwarding",
  "rp_filter",
  "accept_local",
  "route_localnet",
  "send_redirects",
  "accept_source_route",
  "src_valid_mark",
] as const;
type Conf = (typeof CONF)[number];

/** Answers depend on these, and only with this value do we know how. */
const FIXED: readonly (readonly [RegExp, number])[] = [
  [/^net\/ipv4\/conf\/[^/]+\/(bc_forwarding|drop_unicast_in_l2_multicast|proxy_arp)$/, 0],
  [/^net\/ipv4\/conf\/[^/]+\/shared_media$/, 1],
  [/^net\/ipv4\/(fwmark_reflect|ip_forward_use_pmtu|icmp_ratemask|icmp_errors_use_inbound_ifaddr)$/, 0],
  [/^net\/netfilter\/nf_conntrack_tcp_(be_liberal|ignore_invalid_rst)$/, 0],
  [/^net\/netfilter\/nf_conntrack_tcp_max_retrans$/, 3],
  [/^net\/(netfilter\/)?nf_conntrack_max$/, 262_144],
  [/^net\/ipv4\/ipfrag_max_dist$/, 64],
  [/^net\/ipv4\/ipfrag_high_thresh$/, 4_194_304],
  [/^net\/ipv4\/ipfrag_low_thresh$/, 3_145_728],
];

/** No answer depends on these: other protocols, ARP, sockets of the host, memory, logs, lifetimes of connections. */
const HARMLESS = [
  /^net\/ipv4\/conf\/[^/]+\/(accept_redirects|secure_redirects|log_martians|arp_\w+|promote_secondaries)$/,
  /^net\/ipv4\/conf\/[^/]+\/(ignore_routes_with_linkdown|drop_gratuitous_arp|bootp_relay|tag|medium_id)$/,
  /^net\/ipv4\/conf\/[^/]+\/(force_igmp_version|igmpv[23]_unsolicited_report_interval|disable_(xfrm|policy))$/,
  /^net\/ipv4\/(tcp_\w+|udp_\w+|igmp_\w+|neigh\/.*|route\/(?!error_|redirect_)\w+|ip_local_\w+|ip_unprivileged_port_start|ping_group_range)$/,
  /^net\/ipv4\/(ip_no_pmtu_disc|ip_dynaddr|ip_nonlocal_bind|ipfrag_secret_interval|inet_peer_\w+|ip_early_demux)$/,
  /^net\/ipv4\/(icmp_ratelimit|icmp_echo_ignore_(all|broadcasts)|icmp_ignore_bogus_error_responses|icmp_msgs_\w+)$/,
  /^net\/netfilter\/nf_conntrack_((dccp|icmpv6|frag6)_\w*timeout\w*|buckets|acct|events|timestamp|log_invalid|expect_max)$/,
  /^net\/netfilter\/nf_log\w*(\/.*)?$/,
  /^net\/(ipv6|core|unix)\/.*$/,
];

const MOST = 0x7fffffff;

interface Values {
  all: number;
  /** By name of the interface. */
  readonly own: Map<string, number>;
}

export class Sysctls {
  readonly #conf = new Map<Conf, Values>();
  readonly #names: readonly string[];
  #tcpLoose = 1;
  #checksum = 1;
  #defaultTtl = 64;
  #fragmentSeconds = 30;
  readonly #timeouts = new Map<string, number>();

  /** As kernel_oracle.py leaves them: forwarding on, all others off. */
  constructor(names: readonly string[]) {
    this.#names = names;
    for (const conf of CONF) {
      const value = conf === "forwarding" ? 1 : 0;
      this.#conf.set(conf, { all: value, own: new Map(names.map((name) => [name, value])) });
    }
  }

  /** `name` in either spelling, `net.ipv4.ip_forward` or `net/ipv4/ip_forward`. */
  write(name: string, field: Field): void {
    const path = pathOf(name);
    const [, place, conf] = /^net\/ipv4\/conf\/([^/]+)\/(\w+)$/.exec(path) ?? [];
    if (place !== undefined && place !== "all" && place !== "default" && !this.#names.includes(place)) {
      return field.fail(`there is no interface "${place}"`);
    }
    if (HARMLESS.some((pattern) => pattern.test(path))) return;
    const value = valueOf(field);
    if (path === "net/ipv4/ip_forward") this.#forward("all", value);
    else if (conf === "forwarding") this.#forward(place!, value);
    else if (conf === "rp_filter" && value > 2) field.fail("0, 1 or 2 is wanted");
    else if (isConf(conf)) this.#write(conf, place!, value);
    else if (path === "net/netfilter/nf_conntrack_tcp_loose") this.#tcpLoose = value;
    else if (path === "net/netfilter/nf_conntrack_checksum") this.#checksum = value;
    else if (path === "net/ipv4/ip_default_ttl") this.#defaultTtl = within(value, 1, 255, field);
    else if (path === "net/ipv4/ipfrag_time") this.#fragmentSeconds = within(value, 1, MOST, field);
    else if (isTimeout(path)) this.#timeouts.set(path, value);
    else judge(path, value, field);
  }

  of(name: string): InterfaceSysctls {
    const either = (conf: Conf): boolean => this.#own(conf, name) !== 0 || this.#all(conf) !== 0;
    return {
      rpFilter: Math.max(this.#own("rp_filter", name), this.#all("rp_filter")) as 0 | 1 | 2,
      acceptLocal: either("accept_local"),
      routeLocalnet: either("route_localnet"),
      forwarding: this.#own("forwarding", name) !== 0,
      sendRedirects: either("send_redirects"),
      acceptSourceRoute: this.#own("accept_source_route", name) !== 0 && this.#all("accept_source_route") !== 0,
      srcValidMark: either("src_valid_mark"),
    };
  }

  host(): HostSysctls {
    return {
      ipForward: this.#all("forwarding") !== 0,
      tcpLoose: this.#tcpLoose !== 0,
      conntrackChecksum: this.#checksum !== 0,
      defaultTtl: this.#defaultTtl,
      fragmentSeconds: this.#fragmentSeconds,
      timeouts: timeoutsOf(this.#timeouts),
    };
  }

  #all(conf: Conf): number {
    return this.#conf.get(conf)!.all;
  }

  #own(conf: Conf, name: string): number {
    return this.#conf.get(conf)!.own.get(name)!;
  }

  #forward(place: string, value: number): void {
    const { all } = this.#conf.get("forwarding")!;
    if (place === "all" && value === all) return;
    const places = place === "all" ? ["all", ...this.#names] : [place];
    for (const one of places) this.#write("forwarding", one, value);
  }

  #write(conf: Conf, place: string, value: number): void {
    const values = this.#conf.get(conf)!;
    if (place === "all") values.all = value;
    else if (place !== "default") values.own.set(place, value);
  }
}

function isConf(conf: string | undefined): conf is Conf {
  return (CONF as readonly (string | undefined)[]).includes(conf);
}

/** The separator that comes first is the one; the other then stands for it inside names, as in sysctl(8). */
function pathOf(name: string): string {
  const swapped = /[./]/.exec(name)?.[0] === ".";
  return swapped ? name.replace(/[./]/g, (separator) => (separator === "." ? "/" : ".")) : name;
}

function valueOf(field: Field): number {
  const { json } = field;
  if (json.kind !== "string") return field.integer(0, MOST);
  return parseNumber(json.value.trim(), MOST) ?? field.fail(`a whole number from 0 to ${MOST} is wanted`);
}

function within(value: number, least: number, most: number, field: Field): number {
  return value < least || value > most ? field.fail(`a whole number from ${least} to ${most} is wanted`) : value;
}

function judge(path: string, value: number, field: Field): void {
  const fixed = FIXED.find(([pattern]) => pattern.test(path));
  if (fixed === undefined) field.fail("unknown sysctl, or one whose effect is not modelled");
  else if (value !== fixed[1]) field.fail(`only ${fixed[1]} is modelled`);
}
