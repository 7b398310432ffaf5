// What a rule may say. Where a test does not say otherwise, iptables-save 1.8.9 prints what stands behind each line.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { TableName } from "../src/rules/ruleset.ts";
import { parse, printed } from "./support/rule-text.ts";

/** `-A INPUT` is put in front of both. */
function same(cases: Readonly<Record<string, string>>, table: TableName = "filter", chain = "INPUT"): void {
  for (const [written, expected] of Object.entries(cases)) {
    const line = `-A ${chain} ${written}`;
    assert.equal(printed(line, table), `-A ${chain}${expected === "" ? "" : " "}${expected}`, line);
  }
}

test("protocols are names in any case, or numbers as in C", () => {
  same({
    "-p TCP": "-p tcp",
    "-p 0x11": "-p udp",
    "! -p 47": "! -p gre",
    "-p all": "",
    "-p 0": "",
    "-p 253": "-p 253",
    "-p icmpv6": "-p ipv6-icmp",
    "--protocol ah": "-p ah",
  });
});

test("addresses may be short, octal or hexadecimal, with a prefix or any mask", () => {
  same({
    "-s 10/8": "-s 10.0.0.0/8",
    "-s 192.168.1": "-s 192.168.1.0/32",
    "-s 010.0x10.1.1": "-s 8.16.1.1/32",
    "-d 1.2.3.4/024": "-d 1.2.0.0/20",
    "! -d 1.2.3.4/255.255.0.0": "! -d 1.2.0.0/16",
    "-s 1.2.3.4/255.0.255.0": "-s 1.0.3.0/255.0.255.0",
    "-s 1.2.3.4/0": "",
    "! -s any/0": "! -s 0.0.0.0/0",
    "! -s 0.0.0.0": "! -s 0.0.0.0/32",
  });
});

test("a list of addresses makes a rule for each pair, in order", () => {
  assert.equal(
    printed("-A INPUT -s 1.1.1.1,2.2.2.0/24 -d 3.3.3.3,4.4.4.4 -j DROP"),
    [
      "-A INPUT -s 1.1.1.1/32 -d 3.3.3.3/32 -j DROP",
      "-A INPUT -s 1.1.1.1/32 -d 4.4.4.4/32 -j DROP",
      "-A INPUT -s 2.2.2.0/24 -d 3.3.3.3/32 -j DROP",
      "-A INPUT -s 2.2.2.0/24 -d 4.4.4.4/32 -j DROP",
    ].join("\n"),
  );
});

test("a list that is inserted comes out backwards, as with iptables", () => {
  assert.equal(
    printed("-A INPUT -j DROP\n-I INPUT -s 1.1.1.1,2.2.2.2"),
    "-A INPUT -s 2.2.2.2/32\n-A INPUT -s 1.1.1.1/32\n-A INPUT -j DROP",
  );
});

test("a + at the end of an interface is a wildcard; alone it tests nothing", () => {
  same({ "-i eth+": "-i eth+", "! -i lo": "! -i lo", "-i +": "", "-i fifteencharnam+": "-i fifteencharnam+" });
  same({ "-i a -o +": "-i a", "! -o eth0": "! -o eth0" }, "filter", "FORWARD");
});

test("fragments, targetless rules, and targets before matches", () => {
  same({ "-f": "-f", "! -f -j DROP": "! -f -j DROP", "": "" });
  same({ "-j ACCEPT -m state --state NEW -p udp": "-p udp -m state --state NEW -j ACCEPT" });
});

test("options are written long, or cut as long as one fits", () => {
  same({
    "--source 1.1.1.1 --in-interface lo --jump DROP": "-s 1.1.1.1/32 -i lo -j DROP",
    "-p tcp -m tcp --dpo 80 --spor 1": "-p tcp -m tcp --sport 1 --dport 80",
    "-vp tcp -4": "-p tcp",
  });
});

test("a protocol's options need no -m, and stand where the first of them is written", () => {
  same({
    "-p tcp --dport 80": "-p tcp -m tcp --dport 80",
    "-p 6 -m state --state NEW --syn": "-p tcp -m state --state NEW -m tcp --tcp-flags FIN,SYN,RST,ACK SYN",
    "-p udp --sport 53 -m limit --dport 54": "-p udp -m udp --sport 53 --dport 54 -m limit --limit 3/hour",
    "-m tcp --dport 22 -p tcp": "-p tcp -m tcp --dport 22",
    "-p icmp --icmp-type 8": "-p icmp -m icmp --icmp-type 8",
  });
});

test("a module named twice stands twice, and the options belong to the last one named", () => {
  same({
    "-p tcp -m tcp --sport 1 -m tcp --dport 2 --syn":
      "-p tcp -m tcp --sport 1 -m tcp --dport 2 --tcp-flags FIN,SYN,RST,ACK SYN",
    "-m conntrack --ctstate NEW -m mark --mark 1 -m conntrack ! --ctstate DNAT":
      "-m conntrack --ctstate NEW -m mark --mark 0x1 -m conntrack ! --ctstate DNAT",
  });
});

test("`--dport` after -m multiport is its cut `--dports`, as long as no tcp match is there", () => {
  same({
    "-p tcp -m multiport --dport 80,443": "-p tcp -m multiport --dports 80,443",
    "-p tcp --sport 1 -m multiport --dports 2 --dport 80": "-p tcp -m tcp --sport 1 --dport 80 -m multiport --dports 2",
  });
});

test("ports are numbers, services, or ranges open at either end", () => {
  same({
    "-p tcp --dport ssh:http": "-p tcp -m tcp --dport 22:80",
    "-p tcp --dport 010": "-p tcp -m tcp --dport 8",
    "-p udp --dport 010": "-p udp -m udp --dport 10",
    "-p udp --dport syslog": "-p udp -m udp --dport 514",
    "-p tcp --sport 1024:": "-p tcp -m tcp --sport 1024:65535",
    "-p tcp --sport :80": "-p tcp -m tcp --sport 0:80",
    "-p tcp --sport 5:5": "-p tcp -m tcp --sport 5",
    "-p tcp --sport :": "-p tcp -m tcp",
  });
});

test("TCP flags are printed in the order of their bits", () => {
  same({
    "-p tcp --tcp-flags ACK,syn,FIN SYN,": "-p tcp -m tcp --tcp-flags FIN,SYN,ACK SYN",
    "-p tcp --tcp-flags ALL NONE": "-p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE",
    "-p tcp ! --syn": "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN",
    "-p tcp --tcp-flags NONE NONE": "-p tcp -m tcp",
  });
});

test("ICMP types are names, cut names, numbers, and type/code", () => {
  same({
    "-p icmp --icmp-type ping": "-p icmp -m icmp --icmp-type 8",
    "-p icmp --icmp-type frag": "-p icmp -m icmp --icmp-type 3/4",
    "-p icmp --icmp-type tos-host-redirect": "-p icmp -m icmp --icmp-type 5/3",
    "-p icmp ! --icmp-type 255/3": "-p icmp -m icmp ! --icmp-type any",
    "-p icmp --icmp-type 0x8/0": "-p icmp -m icmp --icmp-type 8/0",
  });
});

test("connection states may be cut and come out in one order", () => {
  same({
    "-m conntrack --ctstate dnat,EST,rel,NEW": "-m conntrack --ctstate NEW,RELATED,ESTABLISHED,DNAT",
    "-m state ! --state U,I": "-m state ! --state INVALID,UNTRACKED",
  });
});

test("address types may be cut: the first that fits is meant", () => {
  same({
    "-m addrtype --dst-type local": "-m addrtype --dst-type LOCAL",
    "-m addrtype ! --src-type UN,UNI --limit-iface-in": "-m addrtype ! --src-type UNSPEC,UNICAST --limit-iface-in",
    "-m addrtype --limit-iface-i --dst-type MULTICAST,BROADCAST --src-type NAT":
      "-m addrtype --src-type NAT --dst-type BROADCAST,MULTICAST --limit-iface-in",
  });
});

test("marks are printed in hexadecimal, with the mask if it is not all ones", () => {
  same({
    "-m mark --mark 010": "-m mark --mark 0x8",
    "-m mark ! --mark 1/0xff": "-m mark ! --mark 0x1/0xff",
    "-m mark --mark 4294967295/4294967295": "-m mark --mark 0xffffffff",
  });
});

test("the options of MARK come down to one", () => {
  same({
    "-j MARK --set-mark 5": "-j MARK --set-xmark 0x5/0xffffffff",
    "-j MARK --set-mark 5/3": "-j MARK --set-xmark 0x5/0x7",
    "-j MARK --set-xmark 5/3": "-j MARK --set-xmark 0x5/0x3",
    "-j MARK --and-mark 0xff": "-j MARK --set-xmark 0x0/0xffffff00",
    "-j MARK --or-mark 6": "-j MARK --set-xmark 0x6/0x6",
    "-j MARK --xor-mark 6": "-j MARK --set-xmark 0x6/0x0",
  });
});

test("multiport keeps the order as written", () => {
  same({
    "-p udp -m multiport ! --ports 90,53,80:82": "-p udp -m multiport ! --ports 90,53,80:82",
    "-p sctp -m multiport --source-ports 1": "-p sctp -m multiport --sports 1",
    "-p tcp -m multiport --dports 1:2,3:4,5:6,7:8,9:10,11:12,13:14,15":
      "-p tcp -m multiport --dports 1:2,3:4,5:6,7:8,9:10,11:12,13:14,15",
  });
});

test("comments are quoted where they must be, and cut at 255 bytes", () => {
  same({
    "-m comment --comment a_b-1": "-m comment --comment a_b-1",
    '-m comment --comment ""': '-m comment --comment ""',
    "-m comment --comment a.b": '-m comment --comment "a.b"',
    [String.raw`-m comment --comment "it's \"a\" \\"`]: String.raw`-m comment --comment "it\'s \"a\" \\"`,
    [`-m comment --comment ${"x".repeat(256)}`]: `-m comment --comment ${"x".repeat(255)}`,
  });
});

test("an address range may be one address, and short", () => {
  same(
    {
      "-m iprange --src-range 1.1.1.1-1.1.1.9": "-m iprange --src-range 1.1.1.1-1.1.1.9",
      "-m iprange --dst-r 10-11 ! --src-range 1.1.1.1":
        "-m iprange ! --src-range 1.1.1.1-1.1.1.1 --dst-range 10.0.0.0-11.0.0.0",
    },
    "filter",
    "INPUT",
  );
});

test("a rate is printed in the unit that iptables chooses", () => {
  same({
    "-m limit": "-m limit --limit 3/hour",
    "-m limit --limit 5/minute --limit-burst 5": "-m limit --limit 5/min",
    "-m limit --limit 10 --limit-burst 0x10": "-m limit --limit 10/sec --limit-burst 16",
    "-m limit --limit 7000/h": "-m limit --limit 7001/hour",
    "-m limit --limit 48/day": "-m limit --limit 2/hour",
    "-m limit --limit 600/min": "-m limit --limit 10/sec",
  });
});

test("a probability is rounded to 1/2^31 and printed with 11 digits", () => {
  same({
    "-m statistic --mode random --probability 0.3333333333": "-m statistic --mode random --probability 0.33333333349",
    "-m statistic --mode random ! --probability 1": "-m statistic --mode random ! --probability 1.00000000000",
    // in the middle between two: C takes the even one
    "-m statistic --mode random --probability .000244140625": "-m statistic --mode random --probability 0.00024414062",
    "-m statistic --mode nth ! --every 3 --packet 2": "-m statistic --mode nth ! --every 3 --packet 2",
  });
});

test("REJECT takes names, short names and cut names", () => {
  same({
    "-j REJECT": "-j REJECT --reject-with icmp-port-unreachable",
    "-j REJECT --reject-with host-unreach": "-j REJECT --reject-with icmp-host-unreachable",
    "-j REJECT --reject-with ICMP-net": "-j REJECT --reject-with icmp-net-unreachable",
    "-p tcp -j REJECT --reject-with tcp": "-p tcp -j REJECT --reject-with tcp-reset",
  });
});

test("LOG leaves its defaults out and cuts the prefix at 29 bytes", () => {
  same({
    "-j LOG --log-level warning": "-j LOG",
    "-j LOG --log-level debug --log-prefix x": "-j LOG --log-prefix x --log-level 7",
    '-j LOG --log-uid --log-tcp-sequence --log-prefix "a: "': '-j LOG --log-prefix "a: " --log-tcp-sequence --log-uid',
    "-j LOG --log-prefix 0123456789012345678901234567890": "-j LOG --log-prefix 01234567890123456789012345678",
  });
});

test("DNAT takes addresses, ports, or both, and shifts", () => {
  same(
    {
      "-j DNAT --to 1.2.3.4": "-j DNAT --to-destination 1.2.3.4",
      "-j DNAT --to-d 1.2.3.4-1.2.3.9 --persistent --random":
        "-j DNAT --to-destination 1.2.3.4-1.2.3.9 --random --persistent",
      "-p tcp -j DNAT --to :ftp-data": "-p tcp -j DNAT --to-destination :20",
      "! -p tcp -j DNAT --to 1.2.3.4:80-90/http": "! -p tcp -j DNAT --to-destination 1.2.3.4:80-90/80",
      "-p icmp -j DNAT --to 1.2.3.4:5-5": "-p icmp -j DNAT --to-destination 1.2.3.4:5",
      "-p udp -j REDIRECT --to-port 0-0": "-p udp -j REDIRECT --to-ports 0",
      "-j REDIRECT --random": "-j REDIRECT --random",
    },
    "nat",
    "PREROUTING",
  );
});

test("SNAT and MASQUERADE take their flags", () => {
  same(
    {
      "-j SNAT --to 1.2.3.4 --random-fully --random": "-j SNAT --to-source 1.2.3.4 --random --random-fully",
      "-p tcp -j MASQUERADE --to-ports 1024-65535": "-p tcp -j MASQUERADE --to-ports 1024-65535",
      "-j MASQUERADE --random-fully": "-j MASQUERADE --random-fully",
    },
    "nat",
    "POSTROUTING",
  );
});

test("what iptables-save forgets or rounds away is kept", () => {
  same({
    "! -i + -j DROP": "! -i + -j DROP",
    "-p tcp ! --sport :": "-p tcp -m tcp ! --sport 0:65535",
    "-p tcp --tcp-flags NONE SYN": "-p tcp -m tcp --tcp-flags NONE SYN",
    "-p icmp --icmp-type 3/1:4": "-p icmp -m icmp --icmp-type 3/1:4",
    "-m limit --limit 54003/day": "-m limit --limit 54003/day",
  });
});

test("an option may stand in one word with its argument, as iptables 1.8.10 has it again", () => {
  same({
    "-ptcp -ilo -jDROP": "-i lo -p tcp -j DROP",
    "--proto=tcp --destination-port=80": "-p tcp -m tcp --dport 80",
  });
});

test("a comment is cut between characters", () => {
  same({ [`-m comment --comment "${"\u00fc".repeat(200)}"`]: `-m comment --comment "${"\u00fc".repeat(127)}"` });
});

test("-j and -g name user chains", () => {
  assert.equal(printed("-N a\n-A INPUT -j a\n-A INPUT -g a"), "-A INPUT -j a\n-A INPUT -g a");
});

test("-N -P -I -D -R -F -X -Z -E do what iptables does", () => {
  const text = `*filter
-N a
-N b
-A a -s 1.1.1.1 -j DROP
-A a -c 5 6 -s 2.2.2.2
-A a -s 3.3.3.3,4.4.4.4 -j DROP
-I a 2 -s 5.5.5.5
-D a -s 3.3.3.3 -j DROP
-D a 1
-R a 1 -s 6.6.6.6 -g b
-E b c
-A INPUT -j c
-F INPUT
-N d
-X d
-Z a
-P INPUT DROP -c 7 8
COMMIT
`;
  const { chains } = parse(text).tables[0]!;
  assert.deepEqual(
    chains.map(({ name, policy, counters, rules }) => [name, policy, counters, rules.length]),
    [
      ["INPUT", "DROP", { packets: 7n, bytes: 8n }, 0],
      ["FORWARD", "ACCEPT", null, 0],
      ["OUTPUT", "ACCEPT", null, 0],
      ["a", null, null, 3],
      ["c", null, null, 0],
    ],
  );
  const rules = chains[3]!.rules;
  assert.deepEqual(
    rules.map(({ header, target, counters }) => [header.src?.address, target, counters]),
    [
      [0x06060606, { kind: "goto", chain: "c" }, null],
      [0x02020202, null, null],
      [0x04040404, { kind: "DROP" }, null],
    ],
  );
});

test("-X without a name deletes all user chains, -F empties all", () => {
  const { chains } = parse("*nat\n-N a\n-A a -j RETURN\n-A OUTPUT -j a\n-F\n-X\nCOMMIT\n").tables[0]!;
  assert.deepEqual(
    chains.map(({ name, rules }) => [name, rules.length]),
    [
      ["PREROUTING", 0],
      ["INPUT", 0],
      ["OUTPUT", 0],
      ["POSTROUTING", 0],
    ],
  );
});

test("counters stand before a rule or in -c", () => {
  const { rules } = parse(
    "*filter\n[1:22] -A INPUT\n-A INPUT -c 3 4\n-A INPUT -c 5,6\n[18446744073709551615:0] -A INPUT\nCOMMIT\n",
  ).tables[0]!.chains[0]!;
  assert.deepEqual(
    rules.map(({ counters }) => [counters?.packets, counters?.bytes]),
    [
      [1n, 22n],
      [3n, 4n],
      [5n, 6n],
      [2n ** 64n - 1n, 0n],
    ],
  );
});

test("-6 leaves a line out, with a note", () => {
  const { tables, notes } = parse("*filter\n-6 -A INPUT -s ::1 -j ACCEPT\n-A INPUT -4 -j DROP\nCOMMIT\n");
  assert.equal(tables[0]!.chains[0]!.rules.length, 1);
  assert.deepEqual(notes, ["test:2: left out, for IPv6 alone"]);
});

test("a rule knows its line and its text", () => {
  const rule = parse("# one\n*filter\n\n   -A INPUT  -j DROP \r\nCOMMIT\n").tables[0]!.chains[0]!.rules[0]!;
  assert.deepEqual(rule.position, { file: "test", line: 4, column: 4 });
  assert.equal(rule.text, "   -A INPUT  -j DROP ");
});
