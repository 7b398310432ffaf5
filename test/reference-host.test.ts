// HOST.json: what is read from it, and that whatever is odd is an error which names file, line and key.

import assert from "node:assert/strict";
import { test } from "node:test";
import { HostError } from "../src/host/error.ts";
import type { Host } from "../src/host/host.ts";
import { parseHost } from "../src/host/parse.ts";

const ETH = '"interfaces": [{"name": "eth0", "addresses": ["10.0.0.1/24"]}, {"name": "eth1", "up": false}]';

function error(text: string): HostError {
  try {
    parseHost(text, "host.json");
  } catch (thrown) {
    if (thrown instanceof HostError) return thrown;
    throw thrown;
  }
  return assert.fail(`accepted: ${text}`);
}

function host(text: string): Host {
  return parseHost(text, "host.json");
}

const REFUSED: readonly (readonly [text: string, message: RegExp])[] = [
  ["", /^host\.json:1:1: malformed JSON: the text ends too early$/],
  ['{\n "interfaces": [\n}', /^host\.json:3:1: malformed JSON: a value was expected/],
  ['{"interfaces": [],}', /^host\.json:1:19: malformed JSON: a name in quotes/],
  ['{"interfaces": [], "interfaces": []}', /:1:20: malformed JSON: the key "interfaces" stands here twice/],
  ["[]", /an object is wanted/],
  ['{"interface": []}', /interface: unknown key; known are interfaces, routes,/],
  ['{"interfaces": {}}', /interfaces: an array is wanted/],
  ['{"interfaces": [{}]}', /interfaces\[0\]: the key "name" is missing/],
  ['{"interfaces": [{"name": "sixteen-letters-"}]}', /interfaces\[0\]\.name: .* longer than 15 bytes/],
  ['{"interfaces": [{"name": "a/b"}]}', /interfaces\[0\]\.name: "a\/b" is no interface name/],
  ['{"interfaces": [{"name": "a"},\n {"name": "a"}]}', /^host\.json:2:11: interfaces\[1\]\.name: there are two/],
  ['{"interfaces": [{"name": "a", "adresses": []}]}', /interfaces\[0\]\.adresses: unknown key/],
  ['{"interfaces": [{"name": "a", "addresses": ["10.0.0.1/33"]}]}', /addresses\[0\]: .*prefix length/],
  ['{"interfaces": [{"name": "a", "addresses": ["10.0.0.256/8"]}]}', /addresses\[0\]: .* is no IPv4 address/],
  ['{"interfaces": [{"name": "a", "addresses": ["fe80::1/64"]}]}', /addresses\[0\]: .*IPv6 is not modelled/],
  ['{"interfaces": [{"name": "a", "addresses": ["10.0.0.1/8 vrf x"]}]}', /addresses\[0\]: "vrf": unknown/],
  ['{"interfaces": [{"name": "a", "mac": "02:00"}]}', /interfaces\[0\]\.mac: "02:00" is no MAC address/],
  ['{"interfaces": [{"name": "a", "mac": "01:00:00:00:00:01"}]}', /interfaces\[0\]\.mac: .* one host/],
  ['{"interfaces": [{"name": "a", "mtu": "big"}]}', /interfaces\[0\]\.mtu: a whole number/],
  ['{"interfaces": [{"name": "lo", "mtu": 1500}]}', /interfaces\[0\]\.mtu: the loopback interface/],
  [`{${ETH}, "routes": ["default via 10.0.0.2 dev eth7"]}`, /routes\[0\]: there is no interface "eth7"/],
  [`{${ETH}, "routes": ["default via 10.9.9.9"]}`, /routes\[0\]: Nexthop has invalid gateway/],
  [`{${ETH}, "routes": ["10.0.0.0/24 via 10.0.0.2"]}`, /routes\[0\]: there is such a route already/],
  [
    `{${ETH}, "rules": ["not to 8.8.8.8 table 100 priority 400", "from all table 100 priority 400"]}`,
    /rules\[1\]: there is such a rule already/,
  ],
  [`{${ETH}, "routes": ["10.9.0.1/16 dev eth0"]}`, /routes\[0\]: the address has bits behind the prefix/],
  [`{${ETH}, "routes": ["9.0.0.0/8 dev eth1"]}`, /routes\[0\]: interface "eth1" is down/],
  [`{${ETH}, "routes": ["9.0.0.0/8 dev eth0 src 1.2.3.4"]}`, /routes\[0\]: src is no address of the host/],
  [`{${ETH}, "routes": ["9.0.0.0/8"]}`, /routes\[0\]: the interface is missing/],
  [`{${ETH}, "routes": ["default nexthop via 10.0.0.2"]}`, /routes\[0\]: routes over several gateways/],
  [`{${ETH}, "routes": ["default via 10.0.0.2 realm 4"]}`, /routes\[0\]: "realm": unknown, or not modelled/],
  [`{${ETH}, "routes": ["local 9.0.0.0/8 dev lo mtu 1000"]}`, /routes\[0\]: an mtu of a local route/],
  [`{${ETH}, "routes": ["multicast 230.0.0.0/8 dev eth0"]}`, /routes\[0\]: routes of type multicast/],
  [`{${ETH}, "routes": ["2001:db8::/32 dev eth0"]}`, /routes\[0\]: .*IPv6 is not modelled/],
  [`{${ETH}, "routes": ["9.0.0.0/8 via"]}`, /routes\[0\]: gateway is missing at the end/],
  [`{${ETH}, "routes": [{"dst": "default", "gw": "10.0.0.2"}]}`, /routes\[0\]\.gw: unknown key/],
  [`{${ETH}, "routes": [{"dst": "default", "via": "10.0.0.300"}]}`, /routes\[0\]\.via: .* no IPv4 address/],
  [`{${ETH}, "rules": ["fwmark 1 tabel 100"]}`, /rules\[0\]: "tabel": unknown, or not modelled/],
  [`{${ETH}, "rules": ["fwmark one table 100"]}`, /rules\[0\]: mark "one"/],
  [`{${ETH}, "rules": ["from 1.2.3.4 table vpn"]}`, /rules\[0\]: table "vpn"/],
  [`{${ETH}, "rules": [{"from": "1.2.3.4", "tos": 4}]}`, /rules\[0\]\.tos: "tos": unknown, or not modelled/],
  [`{${ETH}, "sysctl": {"net.ipv4.conf.eth9.rp_filter": 1}}`, /sysctl\.net\.ipv4\.conf\.eth9\.rp_filter: .*"eth9"/],
  [`{${ETH}, "sysctl": {"net.ipv4.conf.all.rp_filter": 3}}`, /rp_filter: 0, 1 or 2 is wanted/],
  [`{${ETH}, "sysctl": {"net.ipv4.ip_forward": "yes"}}`, /ip_forward: a whole number/],
  [`{${ETH}, "sysctl": {"net.ipv4.fwmark_reflect": 1}}`, /fwmark_reflect: only 0 is modelled/],
  [`{${ETH}, "sysctl": {"net.ipv4.ip_default_ttl": 0}}`, /ip_default_ttl: a whole number from 1 to 255/],
  [`{${ETH}, "sysctl": {"net.ipv4.ipfrag_time": 0}}`, /ipfrag_time: a whole number from 1/],
  [`{${ETH}, "sysctl": {"net.netfilter.nf_conntrack_max": 3}}`, /nf_conntrack_max: only 262144 is modelled/],
  [`{${ETH}, "sysctl": {"net.ipv4.route.error_burst": 3}}`, /error_burst: unknown sysctl, or/],
  [`{${ETH}, "rules": [""]}`, /rules\[0\]: a policy rule has at least/],
  [`{${ETH}, "sysctl": {"kernel.panic": 1}}`, /kernel\.panic: unknown sysctl/],
  [`{${ETH}, "conntrack": false}`, /conntrack: "auto" or true is wanted/],
  [`{${ETH}, "host_stack": 1}`, /host_stack: true or false is wanted/],
];

for (const [text, message] of REFUSED) {
  test(`a host is refused with a place: ${text.replaceAll("\n", " ").slice(-70)}`, () => {
    const { message: said, file, line } = error(text);
    assert.match(said, message);
    assert.equal(file, "host.json");
    assert.ok(said.startsWith(`host.json:${line}:`));
  });
}

test("lo is first and has 127.0.0.1, other interfaces have the oracle's defaults", () => {
  const { interfaces } = host(
    '{"interfaces": [{"name": "a"}, {"name": "b", "mac": "02:00:00:00:00:aa", "mtu": 9000}]}',
  );
  assert.deepEqual(
    interfaces.map(({ name, mac, mtu, up }) => [name, mac, mtu, up]),
    [
      ["lo", null, 65536, true],
      ["a", 0x020000000001, 1500, true],
      ["b", 0x0200000000aa, 9000, true],
    ],
  );
  assert.deepEqual(interfaces[0]!.addresses[0]!.address, 0x7f000001);
});

test("sysctls of all and of the interface are combined as the kernel does", () => {
  const settings = {
    "net.ipv4.conf.all.rp_filter": 1,
    "net/ipv4/conf/eth0.5/rp_filter": 2,
    "net.ipv4.conf.a.rp_filter": 0,
    "net.ipv4.conf.eth0/5.accept_local": "1",
    "net.ipv4.conf.all.accept_source_route": 1,
    "net.ipv4.conf.a.accept_source_route": 1,
    "net.ipv4.conf.default.route_localnet": 1,
    "net.netfilter.nf_conntrack_udp_timeout": 5,
  };
  const names = '{"name": "eth0.5"}, {"name": "a"}';
  const { interfaces } = host(`{"interfaces": [${names}], "sysctl": ${JSON.stringify(settings)}}`);
  const [, first, second] = interfaces;
  assert.deepEqual([first!.rpFilter, second!.rpFilter], [2, 1]);
  assert.deepEqual([first!.acceptLocal, second!.acceptLocal], [true, false]);
  assert.deepEqual([first!.acceptSourceRoute, second!.acceptSourceRoute], [false, true]);
  assert.deepEqual([first!.routeLocalnet, second!.routeLocalnet], [false, false]);
});

test("ip_forward overwrites what interfaces have, but only when it changes", () => {
  const forwarding = (sysctl: string): boolean[] =>
    host(`{"interfaces": [{"name": "a"}], "sysctl": {${sysctl}}}`).interfaces.map((one) => one.forwarding);
  assert.deepEqual(forwarding('"net.ipv4.ip_forward": 0'), [false, false]);
  assert.deepEqual(forwarding('"net.ipv4.ip_forward": 0, "net.ipv4.conf.a.forwarding": 1'), [false, true]);
  assert.deepEqual(forwarding('"net.ipv4.conf.a.forwarding": 0, "net.ipv4.ip_forward": 1'), [true, false]);
});
