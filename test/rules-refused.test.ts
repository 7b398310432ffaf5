// What iptables 1.8.9, the kernel, or we refuse: the place, the word under the caret, and what the sentence says.

import assert from "node:assert/strict";
import { test } from "node:test";
import { refuseUnmodelled } from "../src/rules/modelled.ts";
import type { TableName } from "../src/rules/ruleset.ts";
import { parse, refusal, refusedAt, refusedIn } from "./support/rule-text.ts";

/** Lines of one table -> the word under the caret, and a part of the sentence. */
function refused(cases: Readonly<Record<string, readonly [string, RegExp]>>, table: TableName = "filter"): void {
  for (const [lines, [word, reason]] of Object.entries(cases)) {
    const [, marked = "", sentence = ""] = /^\d+:\d+ (.*?): (.*)$/s.exec(refusedIn(lines, table)) ?? [];
    assert.equal(marked, word, `${lines}\n${sentence}`);
    assert.match(sentence, reason, lines);
  }
}

test("an error shows place, line and caret", () => {
  assert.equal(
    refusal("*filter\n:INPUT DROP\n-A INPUT -p tcp --dport 70000 -j ACCEPT\nCOMMIT\n").message,
    [
      "test:3:25: port 70000 is out of range 0..65535",
      "  -A INPUT -p tcp --dport 70000 -j ACCEPT",
      "                          ^^^^^",
    ].join("\n"),
  );
});

test("what iptables does not know, or only for the other family, is named", () => {
  refused({
    "-A INPUT -m geoip --src-cc XX": ["geoip", /there is no match "geoip"/],
    "-A FORWARD -j HL --hl-dec 1": ["HL", /target HL is of IPv6/],
    "-A INPUT -m udplite": ["udplite", /there is no match "udplite"/],
  });
});

test("the negation behind an option is refused with a hint", () => {
  const hint = /the ! stands in front of the option/;
  refused({
    "-A INPUT -s ! 1.2.3.4": ["!", hint],
    "-A INPUT -i ! eth0 -j DROP": ["!", hint],
    "-A INPUT -p ! tcp": ["!", hint],
    "-A INPUT -p tcp --dport ! 80": ["!", hint],
    "-A INPUT -p tcp --tcp-flags ! SYN SYN": ["!", hint],
    "-A INPUT -m state --state ! NEW": ["!", hint],
  });
});

test("options in wrong places are refused", () => {
  refused({
    "-A INPUT -m hashlimit --hashlimit-upto 1b/s --hashlimit-burst 200b --hashlimit-name a": [
      "200b",
      /divides by zero/,
    ],
    '-A INPUT -m bpf --bytecode "2,96 0 0 3,22 0 0 0"': ['"2,96 0 0 3,22 0 0 0"', /reads memory/],
    "-A INPUT --dport 80": ["--dport", /must stand behind -m tcp or -m udp/],
    "-A INPUT --dport 80 -p tcp": ["--dport", /must stand behind/],
    "-A INPUT -p tcp --foo": ["--foo", /unknown option --foo/],
    "-A INPUT -p tcp --s 1": ["--s", /may be --list-rules|may be .*--source/],
    "-A INPUT -q": ["q", /unknown option -q/],
    "-A INPUT -s 1.1.1.1 -s 2.2.2.2": ["-s", /a second -s/],
    "-A INPUT -j ACCEPT -j DROP": ["-j", /a second -j/],
    "-N a\n-A INPUT -j ACCEPT -g a": ["-g", /a second -g/],
    "-A INPUT -p tcp --dport 1 --dport 2": ["--dport", /stands twice/],
    "-A INPUT -p tcp --syn --tcp-flags SYN SYN": ["SYN", /cannot stand together/],
    "-A INPUT ! -j DROP": ["-j", /cannot be negated/],
    "-A INPUT -m comment ! --comment x": ["--comment", /cannot be negated/],
    "-A INPUT ! ! -s 1.1.1.1": ["!", /two ! in a row/],
    "-A INPUT -j DROP !": ["!", /nothing stands behind this !/],
    "-A INPUT -s": ["-s", /nothing stands behind -s/],
    "-A INPUT --syn=1 -p tcp": ["--syn=1", /must stand behind/],
    "-A INPUT -p tcp --syn=1": ["--syn=1", /takes no argument/],
    "-A INPUT -t nat": ["-t", /not allowed here/],
    "-A INPUT -n": ["-n", /no place in a rule file/],
    "-A INPUT foo": ["foo", /not expected here/],
    "-A INPUT -j DROP # why": ["#", /a comment must begin its line/],
    "-j DROP": ["-j", /no command/],
    "-A INPUT -I INPUT": ["-I", /a second command/],
    "-L INPUT": ["-L", /no place in a rule file/],
    "-A INPUT -c 5": ["-c", /needs packets and bytes/],
    "[1:2] -A INPUT -c 3 4": ["-c", /stand in front of it already/],
  });
});

test("arguments that mean nothing are refused", () => {
  refused({
    "-A INPUT -p foo": ["foo", /no protocol/],
    "-A INPUT -p 256": ["256", /no protocol/],
    "-A INPUT ! -p all": ["all", /would match nothing/],
    "-A INPUT -s 1.2.3.256": ["1.2.3.256", /no IPv4 address/],
    "-A INPUT -s 1.2.3.4/33": ["1.2.3.4/33", /"33" is no mask/],
    "-A INPUT -s 1.2.3.4/": ["1.2.3.4/", /no mask/],
    "-A INPUT -s example.org": ["example.org", /is a host name/],
    "-A INPUT ! -s 1.1.1.1,2.2.2.2": ["1.1.1.1,2.2.2.2", /no negated address in a rule with a list/],
    "-A INPUT -s 1.1.1.1,2.2.2.2 ! -d 3.3.3.3": ["3.3.3.3", /no negated address in a rule with a list/],
    '-A INPUT -i ""': ['""', /empty/],
    "-A INPUT -i averyverylongname": ["averyverylongname", /15 characters at most/],
    "-A INPUT -p tcp --dport 90:80": ["90:80", /the range 90:80 is empty/],
    "-A INPUT -p tcp --dport 1:2:3": ["1:2:3", /no port or range/],
    "-A INPUT -p tcp --dport nosuch": ["nosuch", /no port number/],
    "-A INPUT -p udp --dport 0x50": ["0x50", /no port number/],
    "-A INPUT -p tcp --tcp-flags SYN": ["--tcp-flags", /takes two words/],
    "-A INPUT -p tcp --tcp-flags SYN,FOO SYN": ["FOO", /no TCP flag/],
    "-A INPUT -p icmp --icmp-type echo": ["echo", /may be echo-reply or echo-request/],
    "-A INPUT -p icmp --icmp-type 3:4": ["3:4", /range of ICMP types/],
    "-A INPUT -p icmp --icmp-type 256": ["256", /no ICMP type/],
    "-A INPUT -p icmp -m icmp": ["icmp", /needs --icmp-type/],
    "-A INPUT -m conntrack": ["conntrack", /needs one of its options/],
    "-A INPUT -m conntrack --ctstate NEW,FOO": ["FOO", /no connection state/],
    "-A INPUT -m state --state DNAT": ["DNAT", /no connection state/],
    "-A INPUT -m addrtype": ["addrtype", /needs --src-type or --dst-type/],
    "-A INPUT -m addrtype --dst-type FOO": ["FOO", /no address type/],
    "-A FORWARD -m addrtype --dst-type LOCAL --limit-iface-in --limit-iface-out": [
      "--limit-iface-out",
      /cannot stand together/,
    ],
    "-A INPUT -m mark --mark 0x100000000": ["0x100000000", /no whole number/],
    "-A INPUT -m iprange --src-range 2.0.0.0-1.0.0.0": ["2.0.0.0-1.0.0.0", /the range is empty/],
    "-A INPUT -m iprange": ["iprange", /needs --src-range/],
    "-A INPUT -m limit --limit 5/week": ["5/week", /no rate/],
    "-A INPUT -m limit --limit 10001/s": ["10001/s", /too fast/],
    "-A INPUT -m limit --limit-burst 0": ["0", /no whole number in 1\.\.10000/],
    "-A INPUT -m limit --limit 1/day --limit-burst 100": ["limit", /the kernel refuses this limit/],
    "-A INPUT -m statistic --mode random": ["random", /needs --probability/],
    "-A INPUT -m statistic --mode random --probability 1.1": ["1.1", /no probability/],
    "-A INPUT -m statistic --mode nth --every 5": ["nth", /needs --every and --packet/],
    "-A INPUT -m statistic --mode nth --every 3 --packet 3": ["3", /no whole number in 0\.\.2/],
    "-A INPUT -j LOG --log-level warn": ["warn", /no level/],
    '-A INPUT -j LOG --log-prefix ""': ['""', /the prefix is empty/],
    "-A INPUT -j MARK": ["MARK", /needs --set-xmark/],
    "-A INPUT -j REJECT --reject-with icmp6-foo": ["icmp6-foo", /no answer/],
  });
});

test("multiport takes fifteen ports, a range counts two, and asks -p in front of it", () => {
  refused({
    "-A INPUT -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16": [
      "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
      /too many ports/,
    ],
    "-A INPUT -p tcp -m multiport --dports 1:2,3:4,5:6,7:8,9:10,11:12,13:14,15:16": [
      "1:2,3:4,5:6,7:8,9:10,11:12,13:14,15:16",
      /too many ports/,
    ],
    "-A INPUT -p tcp -m multiport --dports 80:80": ["80:80", /must rise/],
    "-A INPUT -p tcp -m multiport --dports 80,": ["80,", /no port number/],
    "-A INPUT -m multiport --dports 80 -p tcp": ["80", /in front of it/],
    "-A INPUT -p icmp -m multiport --dports 80": ["80", /works only with/],
    "-A INPUT ! -p tcp -m multiport --dports 80": ["80", /not negated/],
    "-A INPUT -p tcp -m multiport --dports 80 --sports 81": ["81", /takes one list/],
  });
});

test("a protocol's match needs that protocol, not negated", () => {
  refused({
    "-A INPUT -m tcp --dport 80": ["tcp", /tcp needs -p tcp, not negated/],
    "-A INPUT ! -p tcp --dport 80": ["--dport", /needs -p tcp/],
    "-A INPUT -p udp -m tcp": ["tcp", /needs -p tcp/],
    "-A INPUT -m icmp --icmp-type 8": ["icmp", /needs -p icmp/],
  });
});

test("NAT targets check what they are given", () => {
  refused(
    {
      "-A PREROUTING -j DNAT": ["DNAT", /needs --to-destination/],
      "-A PREROUTING -j DNAT --to 1.2.3.4:80": ["1.2.3.4:80", /ports need -p tcp/],
      "-A PREROUTING -j DNAT --to 1.2.3.4:80 -p tcp": ["1.2.3.4:80", /in front of this option/],
      "-A PREROUTING -p tcp -j DNAT --to 1.2.3": ["1.2.3", /no IPv4 address/],
      "-A PREROUTING -p tcp -j DNAT --to 01.2.3.4": ["01.2.3.4", /no IPv4 address/],
      "-A PREROUTING -p tcp -j DNAT --to 1.2.3.9-1.2.3.4": ["1.2.3.9-1.2.3.4", /is empty/],
      "-A PREROUTING -p tcp -j DNAT --to 1.2.3.4:90-80": ["90-80", /is empty/],
      "-A PREROUTING -p tcp -j DNAT --to 1.2.3.4:65536": ["65536", /no port/],
      "-A PREROUTING -p tcp -j DNAT --to 1.2.3.4:80/5": ["80/5", /no port/],
      "-A PREROUTING -p tcp -j DNAT --to 1.2.3.4:80-90/0": ["0", /no port in 1/],
      "-A PREROUTING -p tcp -j DNAT --to 1.2.3.4 --to 1.2.3.5": ["--to", /stands twice/],
      "-A PREROUTING -p tcp -j DNAT --to 1.2.3.4 --random-fully": ["--random-fully", /must stand behind -j SNAT/],
      "-A POSTROUTING -p tcp -j SNAT --to 1.2.3.4:80-90/85": ["80-90/85", /only DNAT shifts/],
      "-A PREROUTING -j REDIRECT --to-ports 80": ["80", /ports need -p tcp/],
      "-A PREROUTING -p tcp -j REDIRECT --to-ports 80:90": ["80:90", /no port and no range/],
    },
    "nat",
  );
});

test("targets stay in their tables", () => {
  refused({
    "-A INPUT -j DNAT --to 1.2.3.4": ["DNAT", /not allowed in table filter, only in nat/],
    "-A INPUT -j MASQUERADE": ["MASQUERADE", /only in nat/],
    "-A INPUT -j REJECT --reject-with tcp-reset": ["tcp-reset", /needs -p tcp/],
    "-A INPUT ! -p tcp -j REJECT --reject-with tcp-reset": ["tcp-reset", /not negated/],
  });
  refused({ "-A PREROUTING -j REJECT": ["REJECT", /only in filter/] }, "raw");
  refused(
    {
      "-A PREROUTING -j DROP": ["DROP", /not allowed in the nat table/],
      "-P PREROUTING DROP": ["DROP", /not allowed in the nat table/],
    },
    "nat",
  );
});

test("interfaces stay on their side", () => {
  refused({
    "-A INPUT -o eth0": ["-o", /no -o in INPUT/],
    "-A OUTPUT -i eth0": ["-i", /no -i in OUTPUT/],
    "-A OUTPUT -i +": ["-i", /no -i in OUTPUT/],
  });
  refused({ "-A PREROUTING -o eth0": ["-o", /no -o/], "-A POSTROUTING -i eth0": ["-i", /no -i/] }, "nat");
});

test("a chain must be defined before it is named", () => {
  refused({
    "-A INPUT -j nosuch": ["nosuch", /no chain "nosuch" is defined in table filter before this line/],
    "-A INPUT -j later\n-N later": ["later", /before this line/],
    "-A nosuch -j DROP": ["nosuch", /no chain/],
    "-A INPUT -g ACCEPT": ["ACCEPT", /goes to a chain/],
    "-A INPUT -j OUTPUT": ["OUTPUT", /built-in chain; nothing can jump to it/],
    "-P nosuch DROP": ["nosuch", /no chain/],
  });
});

test("chains have names of their own", () => {
  refused({
    "-N a\n-N a": ["a", /defined twice, first in line 2/],
    ":a - [0:0]\n:a - [0:0]": ["a", /defined twice, first in line 2/],
    ":INPUT DROP [0:0]\n:INPUT DROP [0:0]": ["INPUT", /defined twice, first in line 2/],
    "-N INPUT": ["INPUT", /built-in chain/],
    "-N ACCEPT": ["ACCEPT", /name of a target/],
    ":LOG - [0:0]": ["LOG", /name of a target/],
    ":NFLOG - [0:0]": ["NFLOG", /name of a target/],
    ":12345678901234567890123456789 - [0:0]": ["12345678901234567890123456789", /28 characters at most/],
    ":-a - [0:0]": ["-a", /cannot begin with -/],
    '-N "a b"': ['"a b"', /cannot hold blanks/],
  });
  assert.equal(parse(`*filter\n:${"a".repeat(28)} - [0:0]\nCOMMIT\n`).tables[0]!.chains.length, 4);
});

test("policies are of built-in chains, and are ACCEPT or DROP", () => {
  refused({
    ":a ACCEPT [0:0]": ["a", /only a built-in chain has a policy/],
    "-N a\n-P a DROP": ["a", /only a built-in chain has a policy/],
    ":INPUT REJECT [0:0]": ["REJECT", /no policy/],
    "-P INPUT RETURN": ["RETURN", /no policy/],
    ":INPUT": ["INPUT", /a policy is missing/],
    ":INPUT DROP [0:x]": ["[0:x]", /only counters/],
    ":INPUT DROP [0:0] more": ["[0:0]", /only counters/],
    "-P INPUT": ["-P", /needs a policy/],
    "[0:] -A INPUT": ["[0:] -A INPUT", /counters are written/],
    "[18446744073709551616:0] -A INPUT": ["[18446744073709551616:0] -A INPUT", /counters are written/],
  });
});

test("commands about what is not there are refused", () => {
  refused({
    "-D INPUT -s 1.1.1.1": ["INPUT", /no such rule in chain INPUT/],
    "-D INPUT 1": ["1", /has 0 rules/],
    "-R INPUT 1 -j DROP": ["1", /has 0 rules/],
    "-I INPUT 2": ["2", /the number may be 1 at most/],
    "-I INPUT 0": ["0", /they count from 1/],
    "-X INPUT": ["INPUT", /built in and cannot be deleted/],
    "-N a\n-A a\n-X a": ["a", /still has 1 rules/],
    "-N a\n-A INPUT -j a\n-X a": ["a", /still named by 1 rules/],
    "-E INPUT a": ["INPUT", /cannot be renamed/],
    "-N a\n-E a OUTPUT": ["OUTPUT", /built-in chain/],
    "-N a -j DROP": ["a", /-N does not go with -j/],
    "-F INPUT -s 1.1.1.1": ["INPUT", /-F does not go with -s/],
    "-F -m tcp": ["tcp", /does not go with a match/],
    "-R INPUT": ["-R", /needs the number/],
    "-E a": ["-E", /needs the new name/],
  });
});

test("a save file has tables, each once, each with its COMMIT", () => {
  assert.match(refusedAt("*filter\n:INPUT DROP\n-A INPUT\n"), /^3:1 -A INPUT: table filter of line 1 has no COMMIT$/);
  assert.match(refusedAt("*filter\n*nat\nCOMMIT\n"), /^2:1 \*nat: table filter of line 1 has no COMMIT before/);
  assert.match(
    refusedAt("*filter\nCOMMIT\n*filter\nCOMMIT\n"),
    /^3:1 \*filter: table filter stands twice, first in test:1$/,
  );
  assert.match(refusedAt("*fliter\nCOMMIT\n"), /^1:1 \*fliter: there is no table "fliter"/);
  assert.match(refusedAt("*filter x\nCOMMIT\n"), /^1:9 x: nothing may stand behind/);
  assert.match(refusedAt("*filter\nCOMMIT\n-A INPUT\n"), /^3:1 -A: this stands in no table/);
  assert.match(refusedAt("*filter\nCOMMIT\nCOMMIT\n"), /^3:1 COMMIT: this stands in no table/);
  assert.match(refusedAt("*filter\n COMMIT\n"), /^2:2 COMMIT: COMMIT must stand at the beginning of its line$/);
  assert.match(refusedAt("*filter\n # x\nCOMMIT\n"), /^2:2 #: # must stand at the beginning/);
  assert.match(refusedAt("COMMIT\n"), /^1:1 COMMIT: this must stand in a table/);
});

test("rules of other tools are refused by their header", () => {
  assert.match(
    refusedAt("# Generated by arptables-save v1.8.9\n*filter\nCOMMIT\n"),
    /^1:1 .*these are rules of arptables/,
  );
});

test("what is parsed and not modelled is refused for running, with its rule", () => {
  const cases: Readonly<Record<string, RegExp>> = {
    "*filter\n-A INPUT -m helper --helper ftp\nCOMMIT\n":
      /^test:2:1: match helper is not modelled; .*--assume 'helper=match' or/,
    "*filter\n-A OUTPUT -m owner --gid-owner 5 --suppl-groups\nCOMMIT\n":
      /--suppl-groups of match owner is not modelled; /,
    "*filter\n-A INPUT -m hashlimit --hashlimit-upto 1/s --hashlimit-name a\n-A INPUT -m hashlimit --hashlimit-upto 99b/s --hashlimit-name a\nCOMMIT\n":
      /^test:3:1: table a of match hashlimit, which another rule fills by another measure, is not modelled/,
    '*filter\n-A INPUT -m string --algo bm --icase --hex-string "|df|"\nCOMMIT\n':
      /--icase of match string with --algo bm/,
    "*filter\n-A INPUT -m time --timestart 01:00 --kerneltz\nCOMMIT\n": /--kerneltz of match time/,
    '*filter\n-A INPUT -m bpf --bytecode "2,32 0 0 4294963204,22 0 0 0"\nCOMMIT\n':
      /match bpf that asks for 4294963204, .* is not modelled/,
    "*filter\n-A FORWARD -p tcp -j SYNPROXY\nCOMMIT\n":
      /target SYNPROXY, whose cookies are a secret of the host, is not/,
    "*filter\n-A FORWARD -j TEE --gateway 10.0.0.1\nCOMMIT\n": /target TEE is not modelled$/m,
    "*filter\n-A INPUT -m set --match-set a src\n-A INPUT -p tcp -m osf --genre Linux\nCOMMIT\n":
      /set a, which is not loaded \(--ipset\), .*; so it is in filter INPUT:2 \(match osf\)/,
    "*filter\n-A INPUT -s fe80::/10\nCOMMIT\n": /IPv6 .* cannot be run yet/,
    "# Generated by ip6tables-save v1.8.9\n*filter\nCOMMIT\n": /^test:2:1: .*IPv6/,
  };
  for (const [text, message] of Object.entries(cases)) {
    assert.throws(
      () => {
        refuseUnmodelled(parse(text));
      },
      { name: "RuleError", message },
    );
  }
  refuseUnmodelled(parse("*filter\n-A INPUT -m state --state NEW\nCOMMIT\n"));
});

test("what holds no rules is refused", () => {
  for (const text of ["", "\n\n", "# nothing\n", "\ufeff"]) assert.match(refusal(text).reason, /no rules here/);
  assert.match(refusedAt("hello\n"), /^1:1 hello: this is no rule; paste the whole output/);
  assert.match(refusedAt("@1.2.3.4/32\t0.0.0.0/0\n"), /ClassBench/);
});

test("of a line that is far too long the part around the caret is shown", () => {
  const text = `-A INPUT -m comment --comment "${"x".repeat(5000)}" -j FOO`;
  const [, shown = "", caret = ""] = refusal(`*filter\n${text}\nCOMMIT\n`).message.split("\n");
  assert.equal(shown.length, 1002);
  assert.ok(caret.length <= 1002);
});
