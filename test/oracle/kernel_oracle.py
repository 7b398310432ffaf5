#!/usr/bin/env python3
"""kernel_oracle.py - ask the running Linux kernel what iptables rules do.

    kernel_oracle.py RULES.v4 HOST.json PACKETS.jsonl > VERDICTS.jsonl

The script enters a fresh, anonymous network namespace, builds the interfaces,
addresses and routes of HOST.json, loads RULES.v4 with iptables-restore, then
injects the packets of PACKETS.jsonl one by one and prints, for each, one JSON
line which says what the kernel did with it.  See README.md for the formats.

How it works
------------
* Every interface is a TAP device with ARP switched off, held open by this
  process.  write(2) on a TAP runs the whole receive path (PREROUTING, routing,
  INPUT or FORWARD, POSTROUTING, transmit) before it returns, and a transmitted
  frame is at once readable on the TAP it left by.  So no sleeping, no
  sentinels: everything readable after the write belongs to that packet.
* Packets of the host itself ("in": "local") are sent through a raw socket
  with IP_HDRINCL, which takes the normal OUTPUT path.
* A private nftables table (`kernel_oracle`) has one base chain at the very
  start and one at the very end of every hook.  They only `log group N`
  (nfnetlink_log), so they tell where a packet got to, with its mark, without
  touching the rules under test or their counters.  The last INPUT chain then
  drops the packet (after conntrack confirmed it), so that the host's own stack
  does not answer; "host_stack": true in HOST.json leaves that drop out.
* Tracing sets skb->nf_trace from that private table; the legacy backend then
  reports matched rules over nfnetlink_log, the nft backend over nftables'
  trace messages.  No TRACE rule is added to the rules under test.

The namespace has no name and dies with this process, however it ends; the TAP
devices go with it.  Nothing outside the namespace is changed.

Needs Linux, Python >= 3.8 (standard library only) and the commands ip, nft,
iptables-{legacy,nft}-{restore,save}; run it as root.
"""

import argparse
import ctypes
import errno
import fcntl
import ipaddress
import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

# --------------------------------------------------------------------------
# Small helpers


class OracleError(Exception):
    """A problem with the input or with the machine, to be shown to the user."""


def write_file(path, text):
    with open(path, "w") as handle:
        handle.write(text)


def find_program(*names):
    """The first of `names` that is installed (sbin included)."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin"
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    raise OracleError("command not found: " + " or ".join(names))


def run_program(argv, text=""):
    """Runs a command, gives its standard output, raises on failure."""
    done = subprocess.run(argv, input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode:
        raise OracleError("%s failed (%d): %s" % (
            os.path.basename(argv[0]), done.returncode, done.stderr.strip()))
    return done.stdout


# --------------------------------------------------------------------------
# Network namespace, sysctls, interfaces

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP = 28, 4

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000

# Written in this order before any interface exists, so that the "default"
# values are inherited.  Given explicitly because a new namespace may inherit
# net.ipv4.conf from the machine's own.  HOST.json "sysctl" overrides them.
DEFAULT_SYSCTLS = {
    "net/ipv6/conf/all/disable_ipv6": 1,
    "net/ipv6/conf/default/disable_ipv6": 1,
    "net/ipv4/ip_forward": 1,
    "net/ipv4/icmp_ratelimit": 0,
    "net/ipv4/icmp_ratemask": 0,            # no ICMP error is rate limited
    "net/ipv4/icmp_errors_use_inbound_ifaddr": 0,
    "net/ipv4/icmp_echo_ignore_broadcasts": 1,
    "net/ipv4/ip_default_ttl": 64,
    "net/netfilter/nf_conntrack_checksum": 1,
    "net/netfilter/nf_conntrack_tcp_loose": 1,
    "net/netfilter/nf_conntrack_tcp_be_liberal": 0,
    "net/netfilter/nf_conntrack_acct": 0,
    "net/netfilter/nf_conntrack_events": 1,
}
DEFAULT_CONF_SYSCTLS = {
    "rp_filter": 0, "accept_local": 0, "route_localnet": 0,
    "send_redirects": 0, "accept_redirects": 0, "accept_source_route": 0,
    "log_martians": 0, "src_valid_mark": 0, "promote_secondaries": 0,
}


def enter_new_namespace():
    """Moves this process into a new, unnamed network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        flags |= CLONE_NEWUSER      # works where user namespaces are allowed
    if libc.unshare(flags) != 0:
        code = ctypes.get_errno()
        raise OracleError("cannot create a network namespace: %s "
                          "(run as root)" % os.strerror(code))
    if uid != 0:
        write_file("/proc/self/setgroups", "deny")
        write_file("/proc/self/uid_map", "0 %d 1" % uid)
        write_file("/proc/self/gid_map", "0 %d 1" % gid)


def sysctl_path(key):
    """Like sysctl(8): the first separator seen, '.' or '/', is the one used."""
    first = re.search(r"[./]", key)
    if first and first.group() == ".":
        key = key.replace(".", "\0").replace("/", ".").replace("\0", "/")
    if ".." in key.split("/"):
        raise OracleError("bad sysctl name: " + key)
    return "/proc/sys/" + key.lstrip("/")


def set_sysctl(key, value, required):
    try:
        write_file(sysctl_path(key), str(value))
    except OSError as problem:
        if required:
            raise OracleError("sysctl %s=%s: %s" % (key, value, problem))


def open_tap(name):
    """Creates the TAP device `name`; it lives as long as the descriptor."""
    if not 0 < len(name.encode()) < 16 or "/" in name or name in (".", ".."):
        raise OracleError("bad interface name: %r" % name)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF,
                    struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError as problem:
        raise OracleError("cannot create interface %s: %s" % (name, problem))
    return fd


def ip_words(item, order):
    """An `ip` argument list from a string (as typed) or an object."""
    if isinstance(item, str):
        words = item.split()
    else:
        words = []
        for key in order:
            if key in item:
                words += ([] if key in ("dst", "type", "address") else [key])
                words.append(str(item[key]))
        unknown = set(item) - set(order)
        if unknown:
            raise OracleError("unknown keys %s in %r" % (sorted(unknown), item))
    for word in words:
        if not re.match(r"^[\w./:@+*!-]+$", word):
            raise OracleError("odd word %r in the host model" % word)
    return words


class Interface:
    def __init__(self, name, fd, mac, broadcasts):
        self.name, self.fd, self.mac = name, fd, mac
        self.broadcasts = broadcasts        # subnet broadcast addresses


def mac_bytes(text):
    return bytes(int(part, 16) for part in text.split(":"))


def build_host(host):
    """Makes the interfaces, addresses, routes of the host model.

    Returns {name: Interface}, "lo" not included.
    """
    for key, value in DEFAULT_SYSCTLS.items():
        set_sysctl(key, value, required=False)
    for key, value in DEFAULT_CONF_SYSCTLS.items():
        for where in ("all", "default", "lo"):
            set_sysctl("net/ipv4/conf/%s/%s" % (where, key), value, False)

    interfaces, links, addresses = {}, ["link set dev lo up"], []
    for number, model in enumerate(host.get("interfaces", []), 1):
        name = model["name"]
        mac = model.get("mac", "02:00:00:00:%02x:%02x" % divmod(number, 256))
        broadcasts = set()
        for address in model.get("addresses", []):
            words = ip_words(address, ("address", "peer", "broadcast", "scope",
                                       "label"))
            addresses.append("address add %s dev %s" % (" ".join(words), name))
            net = ipaddress.ip_interface(words[0]).network
            if net.prefixlen < 31:
                broadcasts.add(str(net.broadcast_address))
        if name == "lo":
            continue
        fd = open_tap(name)
        interfaces[name] = Interface(name, fd, mac_bytes(mac), broadcasts)
        links.append("link set dev %s address %s" % (name, mac))
        # Without ARP every next hop gets the device's own address at once:
        # no neighbour entry has to be made, no packet waits for one.
        links.append("link set dev %s arp off" % name)
        if "mtu" in model:
            links.append("link set dev %s mtu %d" % (name, model["mtu"]))
        if model.get("up", True):
            links.append("link set dev %s up" % name)

    routes = []
    for route in host.get("routes", []):
        words = ip_words(route, ("type", "dst", "via", "dev", "src", "table",
                                 "metric", "scope", "onlink", "mtu"))
        words = [word for word in words if word not in ("True", "true")]
        routes.append("route add " + " ".join(words))
    for rule in host.get("rules", []):
        words = ip_words(rule, ("from", "to", "iif", "oif", "fwmark", "tos",
                                "priority", "table"))
        routes.append("rule add " + " ".join(words))

    ip = find_program("ip")
    run_program([ip, "-4", "-batch", "-"], "\n".join(links + addresses) + "\n")
    # Interface sysctls first: rp_filter etc. do not matter to `ip route`, but
    # some (forwarding) flush the routing cache.
    for key, value in host.get("sysctl", {}).items():
        set_sysctl(key, value, required=True)
    if routes:
        run_program([ip, "-4", "-batch", "-"], "\n".join(routes) + "\n")
    return interfaces


# --------------------------------------------------------------------------
# Packets: building and decoding

PROTOCOLS = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50,
             "ah": 51, "sctp": 132, "udplite": 136}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
ICMP, TCP, UDP = 1, 6, 17
TCP_FLAGS = (("FIN", 1), ("SYN", 2), ("RST", 4), ("PSH", 8), ("ACK", 16),
             ("URG", 32), ("ECE", 64), ("CWR", 128))
TCP_LETTERS = dict(zip("FSRPAUEC", (bit for _, bit in TCP_FLAGS)))
ICMP_ERRORS = (3, 4, 5, 11, 12)
PACKET_KEYS = {
    "id", "in", "src", "dst", "proto", "sport", "dport", "flags", "seq", "ack",
    "window", "icmp_type", "icmp_code", "icmp_id", "icmp_seq", "ttl", "tos",
    "dscp", "len", "payload", "payload_hex", "ip_id", "df", "frag", "src_mac",
    "dst_mac", "mark", "uid", "gid", "oif", "inner", "bad_checksum",
    "ip_options_hex", "tcp_options_hex", "gateway", "hex", "wait", "comment",
}


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp_flags_value(flags):
    """'S', 'SA', 'SYN,ACK', 'NONE' or a number."""
    if isinstance(flags, int):
        return flags
    if flags.upper() in ("", "NONE"):
        return 0
    names = dict(TCP_FLAGS)
    words = re.split(r"[,| ]+", flags.upper())
    if all(word in names for word in words):
        return sum(names[word] for word in words)
    try:
        return sum(TCP_LETTERS[letter] for letter in flags.upper())
    except KeyError:
        raise OracleError("bad TCP flags: %r" % flags)


def protocol_number(proto):
    if isinstance(proto, int):
        return proto
    if proto in PROTOCOLS:
        return PROTOCOLS[proto]
    if proto.isdigit():
        return int(proto)
    raise OracleError("unknown protocol: %r" % proto)


def payload_of(spec, default):
    if "payload_hex" in spec:
        return bytes.fromhex(spec["payload_hex"])
    if "payload" in spec:
        return spec["payload"].encode()
    return default


def build_packet(spec, default_id):
    """The bytes of the IPv4 packet that `spec` describes."""
    if "hex" in spec:
        return bytes.fromhex(spec["hex"])
    unknown = set(spec) - PACKET_KEYS
    if unknown:
        raise OracleError("unknown packet keys %s" % sorted(unknown))
    src = socket.inet_aton(spec.get("src", "0.0.0.0"))
    dst = socket.inet_aton(spec["dst"])
    proto = protocol_number(spec.get("proto", "udp"))
    options = bytes.fromhex(spec.get("ip_options_hex", ""))
    options += b"\0" * (-len(options) % 4)
    header_len = 20 + len(options)

    def finish_payload(payload, l4_header_len):
        """Pads or cuts the payload to reach the wanted total length."""
        if "len" in spec:
            room = spec["len"] - header_len - l4_header_len
            if room < 0:
                raise OracleError("len %d is too small" % spec["len"])
            payload = payload[:room] + b"\0" * (room - len(payload))
        return payload

    def with_checksum(data, offset, pseudo):
        value = checksum((struct.pack("!4s4sBBH", src, dst, 0, proto, len(data))
                          if pseudo else b"") + data)
        if spec.get("bad_checksum"):
            value ^= 0x5555
        if proto == UDP and value == 0:
            value = 0xFFFF
        return data[:offset] + struct.pack("!H", value) + data[offset + 2:]

    if proto == TCP:
        flags = tcp_flags_value(spec.get("flags", "S"))
        # Both sides count from the same numbers, so that any plausible order
        # of packets is inside conntrack's TCP window without further care.
        seq = spec.get("seq", 1000 if flags & 2 else 1001)
        ack = spec.get("ack", 1001 if flags & 16 else 0)
        tcp_options = bytes.fromhex(spec.get("tcp_options_hex", ""))
        tcp_options += b"\0" * (-len(tcp_options) % 4)
        offset = 20 + len(tcp_options)
        body = struct.pack("!HHIIBBHHH", spec.get("sport", 1024),
                           spec.get("dport", 0), seq, ack, offset // 4 << 4,
                           flags, spec.get("window", 65535), 0, 0)
        body += tcp_options + finish_payload(payload_of(spec, b""), offset)
        body = with_checksum(body, 16, True)
    elif proto == UDP:
        payload = finish_payload(payload_of(spec, b"oracle.."), 8)
        body = struct.pack("!HHHH", spec.get("sport", 1024),
                           spec.get("dport", 0), 8 + len(payload), 0)
        body = with_checksum(body + payload, 6, True)
    elif proto == ICMP:
        kind, code = spec.get("icmp_type", 8), spec.get("icmp_code", 0)
        if "inner" in spec:
            quoted = build_packet(spec["inner"], spec["inner"].get("ip_id", 1))
            quoted_header = (quoted[0] & 15) * 4
            payload = quoted[:quoted_header + 8]
            if kind == 5:
                rest = socket.inet_aton(spec.get("gateway", "0.0.0.0"))
            else:
                rest = struct.pack("!HH", 0, spec.get("icmp_seq", 0))
        else:
            payload = payload_of(spec, b"oracle..")
            rest = struct.pack("!HH", spec.get("icmp_id", 1),
                               spec.get("icmp_seq", 1))
        body = struct.pack("!BBH", kind, code, 0) + rest
        body = with_checksum(body + finish_payload(payload, 8), 2, False)
    else:
        body = finish_payload(payload_of(spec, b"oracle.."), 0)

    frag_field = 0x4000 if spec.get("df") else 0
    if "frag" in spec:
        # {"offset": bytes, "length": bytes}: that slice of the datagram.
        start = spec["frag"].get("offset", 0)
        end = start + spec["frag"].get("length", len(body) - start)
        if start % 8 or (end < len(body) and end % 8):
            raise OracleError("fragment limits must be multiples of 8")
        frag_field |= start // 8 | (0x2000 if end < len(body) else 0)
        body = body[start:end]
    tos = spec.get("tos", spec.get("dscp", 0) << 2)
    header = struct.pack("!BBHHHBBH4s4s", 0x40 | header_len // 4, tos,
                         header_len + len(body), spec.get("ip_id", default_id),
                         frag_field, spec.get("ttl", 64), proto, 0, src, dst)
    header += options
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return header + body


def decode_packet(data, quoted=False):
    """The fields of an IPv4 packet, as a dict with a fixed key order."""
    (version, tos, length, ident, frag, ttl, proto, _, src,
     dst) = struct.unpack("!BBHHHBBH4s4s", data[:20])
    header_len = (version & 15) * 4
    out = {"src": socket.inet_ntoa(src), "dst": socket.inet_ntoa(dst),
           "proto": PROTOCOL_NAMES.get(proto, proto)}
    body = data[header_len:]
    if not frag & 0x1FFF:
        if proto in (TCP, UDP, 132, 136) and len(body) >= 4:
            out["sport"], out["dport"] = struct.unpack("!HH", body[:4])
        if proto == TCP and len(body) >= 14:
            out["flags"] = ",".join(name for name, bit in TCP_FLAGS
                                    if body[13] & bit) or "NONE"
            mss = tcp_mss(body)
            if mss is not None:
                out["mss"] = mss
        if proto == ICMP and len(body) >= 8:
            out["icmp_type"], out["icmp_code"] = body[0], body[1]
            if body[0] in (0, 8, 13, 14, 15, 16, 17, 18):
                out["icmp_id"], out["icmp_seq"] = struct.unpack("!HH", body[4:8])
            elif body[0] in ICMP_ERRORS and len(body) >= 28 and not quoted:
                if body[0] == 3 and body[1] == 4:
                    out["mtu"] = struct.unpack("!H", body[6:8])[0]
                out["inner"] = decode_packet(body[8:], True)
    if not quoted:
        out.update(ttl=ttl, tos=tos, dscp=tos >> 2, len=length)
        if frag & 0x3FFF:
            out["frag_offset"] = (frag & 0x1FFF) * 8
            out["more_fragments"] = bool(frag & 0x2000)
    return out


def tcp_mss(segment):
    """The MSS option of a TCP segment, if it has one."""
    end = min((segment[12] >> 4) * 4, len(segment))
    at = 20
    while at < end and segment[at] != 0:
        if segment[at] == 1:
            at += 1
            continue
        if at + 1 >= end or segment[at + 1] < 2:
            break
        if segment[at] == 2 and at + 4 <= end:
            return struct.unpack("!H", segment[at + 2:at + 4])[0]
        at += segment[at + 1]
    return None


def identity(data):
    """What stays the same on a packet's way through the kernel.

    Neither NAT nor mangling changes the IP id, the protocol or the ICMP type.
    An answer made by the kernel differs in one of them: REJECT's RST has id 0,
    an ICMP error has another type than what it answers.
    """
    if len(data) < 20:
        return None
    header_len = (data[0] & 15) * 4
    proto = data[9]
    kind = None
    if (proto == ICMP and len(data) > header_len
            and not struct.unpack("!H", data[6:8])[0] & 0x1FFF):
        kind = data[header_len]
    return struct.unpack("!H", data[4:6])[0], proto, kind


def same_packet(first, second):
    """Compares identities; a later fragment has no ICMP type to compare."""
    return (first is not None and second is not None and first[:2] == second[:2]
            and (first[2] == second[2] or None in (first[2], second[2])))


# --------------------------------------------------------------------------
# Netlink

NETLINK_NETFILTER = 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE = 1, 4, 0x400
NLA_F_NESTED = 0x8000
NLMSG_ERROR = 2
SUBSYS_CTNETLINK, SUBSYS_ULOG, SUBSYS_NFTABLES = 1, 4, 10
NFNLGRP_CT_NEW, NFNLGRP_CT_UPDATE, NFNLGRP_CT_DESTROY = 1, 2, 3
NFNLGRP_NFTRACE = 9
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
SO_RCVBUFFORCE = 33


def attribute(kind, data):
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + b"\0" * (-length % 4)


def attributes(data):
    """{type: value} of a run of netlink attributes (flag bits removed)."""
    out, at, end = {}, 0, len(data)
    while at + 4 <= end:
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        out[kind & 0x3FFF] = data[at + 4:at + length]
        at += (length + 3) & ~3
    return out


class NetlinkSocket:
    """A NETLINK_NETFILTER socket, in the namespace current at creation."""

    def __init__(self, groups=()):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW,
                                  NETLINK_NETFILTER)
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        except OSError:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.sock.bind((0, 0))
        for group in groups:
            self.sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        self.sock.setblocking(False)
        self.sequence = 0

    def fileno(self):
        return self.sock.fileno()

    def request(self, subsystem, message, family, resource, payload,
                ignore=()):
        """Sends one request and waits for its acknowledgement."""
        self.sequence += 1
        body = struct.pack("!BBH", family, 0, resource) + payload
        self.sock.send(struct.pack(
            "=IHHII", 16 + len(body), subsystem << 8 | message,
            NLM_F_REQUEST | NLM_F_ACK, self.sequence, 0) + body)
        self.sock.setblocking(True)
        try:
            for kind, _, data in self.parse(self.sock.recv(1 << 16)):
                if kind == NLMSG_ERROR:
                    code = -struct.unpack("=i", data[:4])[0]
                    if code and code not in ignore:
                        raise OracleError("netlink request %d/%d: %s" % (
                            subsystem, message, os.strerror(code)))
        finally:
            self.sock.setblocking(False)

    @staticmethod
    def parse(data):
        at = 0
        while at + 16 <= len(data):
            length, kind, flags = struct.unpack_from("=IHH", data, at)
            if length < 16:
                break
            yield kind, flags, data[at + 16:at + length]
            at += (length + 3) & ~3

    def receive(self):
        """All (type, flags, body after nfgenmsg) that are waiting."""
        out = []
        while True:
            try:
                data = self.sock.recv(1 << 18)
            except BlockingIOError:
                return out
            except OSError as problem:
                if problem.errno == errno.ENOBUFS:
                    raise OracleError("netlink messages were lost")
                raise
            for kind, flags, body in self.parse(data):
                if kind >= 16:
                    out.append((kind, flags, body[4:]))


# --------------------------------------------------------------------------
# Observation points

GROUP = 4242            # the nfnetlink_log group of our own chains
TRACE_GROUP = 0         # where legacy TRACE messages arrive
FIRST, AFTER_DEFRAG, LAST = -500, -350, 2147483647
HOOK_NAMES = {"pre": "PREROUTING", "in": "INPUT", "fwd": "FORWARD",
              "out": "OUTPUT", "post": "POSTROUTING"}
NFT_HOOKS = {"pre": "prerouting", "in": "input", "fwd": "forward",
             "out": "output", "post": "postrouting"}
POINTS = {hook + point for hook in NFT_HOOKS for point in "0d1"}
TRACE_PREFIX = re.compile(r"^TRACE: \w+:[^ ]+:(rule|return|policy):\d+ ?$")
CT_STATES = ("new", "established", "related", "invalid", "untracked")

# Rules which make the kernel track connections.  Only then may our own chains
# look at the state, because looking would switch conntrack on.
CONNTRACK_USE = re.compile(
    r"-m\s+(conntrack|state|connmark|connbytes|connlimit|connlabel|helper|"
    r"cluster)\b|-j\s+(CT|NOTRACK|CONNMARK|CONNSECMARK|MASQUERADE|SNAT|DNAT|"
    r"REDIRECT|NETMAP|SYNPROXY)\b")


def needs_conntrack(rules_text):
    return bool(CONNTRACK_USE.search(re.sub(r'"[^"\n]*"', '""', rules_text)))


class Observer:
    """Our private nftables table and the log messages it produces."""

    def __init__(self, mute, trace):
        self.nft = find_program("nft")
        self.mute = mute
        self.log = NetlinkSocket()
        for group in (GROUP, TRACE_GROUP):
            self._config(group, attribute(1, b"\1"))              # BIND
            self._config(group, attribute(2, struct.pack("!IBx", 0xFFFF, 2)))
            self._config(group, attribute(5, struct.pack("!I", 1)))  # QTHRESH
        chains = []
        for hook in NFT_HOOKS:
            chains.append(self._chain(hook + "0", hook, FIRST))
            if hook in ("pre", "out"):
                chains.append(self._chain(hook + "d", hook, AFTER_DEFRAG,
                                          trace))
            # These come after conntrack's own last hook (same priority)
            # because a hook that is registered later goes before its equals,
            # and conntrack's is registered when the rules are loaded.
            chains.append(self._chain(hook + "1", hook, LAST, fill=False))
        run_program([self.nft, "-f", "-"],
                    "table ip kernel_oracle {\n%s}\n" % "".join(chains))

    def _config(self, group, payload):
        self.log.request(SUBSYS_ULOG, 1, socket.AF_INET, group, payload)

    @staticmethod
    def _chain(name, hook, priority, trace=False, fill=True):
        rules = "meta nftrace set 1\n" if trace else ""
        if fill:
            rules += 'log prefix "%s" group %d\n' % (name, GROUP)
        return ("chain %s { type filter hook %s priority %d; policy accept;\n"
                "%s}\n" % (name, NFT_HOOKS[hook], priority, rules))

    def start(self, use_conntrack):
        """Fills the last chains; to be called after the rules are loaded."""
        lines = []
        for hook in NFT_HOOKS:
            add = "add rule ip kernel_oracle %s1 " % hook
            if use_conntrack and hook in ("pre", "out"):
                for state in CT_STATES:
                    lines.append('%s ct state %s log prefix "%s1 %s" group %d'
                                 % (add, state, hook, state, GROUP))
            else:
                lines.append('%s log prefix "%s1" group %d' % (add, hook, GROUP))
            if hook == "in" and self.mute:
                lines.append(add + "drop")
        run_program([self.nft, "-f", "-"], "\n".join(lines) + "\n")
        self.names = {index: name for index, name in socket.if_nameindex()}

    def read(self):
        """(events, legacy trace messages) since the last call."""
        events, traces = [], []
        for _, _, body in self.log.receive():
            attrs = attributes(body)
            prefix = attrs.get(10, b"").rstrip(b"\0").decode()
            payload = attrs.get(9, b"")
            if TRACE_PREFIX.match(prefix):
                traces.append((prefix[7:].strip(), payload))
            if prefix.split(" ")[0] not in POINTS:
                continue            # or of a LOG or NFLOG rule under test
            events.append(Event(
                prefix, payload, self._name(attrs.get(4)),
                self._name(attrs.get(5)),
                struct.unpack("!I", attrs[2])[0] if 2 in attrs else 0))
        return events, traces

    def _name(self, value):
        return self.names.get(struct.unpack("!I", value)[0]) if value else None


class Event:
    """A packet seen at one of our chains."""
    __slots__ = ("hook", "point", "state", "data", "indev", "outdev", "mark",
                 "identity")

    def __init__(self, prefix, data, indev, outdev, mark):
        word, _, state = prefix.partition(" ")
        self.hook, self.point = word[:-1], word[-1]
        self.state = state.upper() or None
        self.data, self.indev, self.outdev, self.mark = data, indev, outdev, mark
        self.identity = identity(data)


# --------------------------------------------------------------------------
# Connection tracking: events, and forgetting connections

CT_STATUS = ("EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED", "SRC_NAT",
             "DST_NAT", "SEQ_ADJUST", "SRC_NAT_DONE", "DST_NAT_DONE", "DYING",
             "FIXED_TIMEOUT", "TEMPLATE", "NAT_CLASH", "HELPER", "OFFLOAD")
CT_STATUS_SHOWN = ("EXPECTED", "SEEN_REPLY", "ASSURED", "SRC_NAT", "DST_NAT")
CT_TCP_STATES = ("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT",
                 "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2")


class Conntrack:
    def __init__(self):
        self.events = NetlinkSocket((NFNLGRP_CT_NEW, NFNLGRP_CT_UPDATE,
                                     NFNLGRP_CT_DESTROY))
        self.control = NetlinkSocket()

    def read(self):
        """New and changed connections: [(description, deletion request)]."""
        out = []
        for kind, flags, body in self.events.receive():
            if kind >> 8 != SUBSYS_CTNETLINK:
                continue
            attrs = attributes(body)
            if 1 not in attrs:
                continue
            gone = kind & 0xFF == 2
            entry = {"event": "destroy" if gone else
                              "new" if flags & NLM_F_CREATE else "update",
                     "orig": self._tuple(attrs[1])}
            if 2 in attrs:
                entry["reply"] = self._tuple(attrs[2])
            if 3 in attrs:
                bits = struct.unpack("!I", attrs[3])[0]
                entry["status"] = [name for number, name in enumerate(CT_STATUS)
                                   if bits >> number & 1
                                   and name in CT_STATUS_SHOWN]
            if 4 in attrs:
                tcp = attributes(attributes(attrs[4]).get(1, b""))
                if 1 in tcp:
                    entry["tcp_state"] = CT_TCP_STATES[tcp[1][0]]
            if 8 in attrs:
                entry["mark"] = struct.unpack("!I", attrs[8])[0]
            if 18 in attrs:
                entry["zone"] = struct.unpack("!H", attrs[18])[0]
            # To delete it later: its original tuple (a nested attribute) and
            # its zone, as they came.
            request = attribute(1 | NLA_F_NESTED, attrs[1])
            if 18 in attrs:
                request += attribute(18, attrs[18])
            out.append((entry, None if gone else request))
        return out

    @staticmethod
    def _tuple(data):
        attrs = attributes(data)
        addresses, proto = attributes(attrs.get(1, b"")), attributes(
            attrs.get(2, b""))
        number = proto.get(1, b"\0")[0]
        out = {"src": socket.inet_ntoa(addresses.get(1, b"\0" * 4)),
               "dst": socket.inet_ntoa(addresses.get(2, b"\0" * 4)),
               "proto": PROTOCOL_NAMES.get(number, number)}
        for kind, name in ((2, "sport"), (3, "dport"), (4, "icmp_id")):
            if kind in proto:
                out[name] = struct.unpack("!H", proto[kind])[0]
        for kind, name in ((5, "icmp_type"), (6, "icmp_code")):
            if kind in proto:
                out[name] = proto[kind][0]
        return out

    def forget(self, requests):
        for request in requests:
            self.control.request(SUBSYS_CTNETLINK, 2, socket.AF_INET, 0,
                                 request, ignore=(errno.ENOENT,))


# --------------------------------------------------------------------------
# Rules and their trace


class Rules:
    """Loads the rules under test, knows their numbering, reads traces."""

    def __init__(self, backend, text, trace):
        self.backend, self.trace = backend, trace
        self.restore = find_program("iptables-%s-restore" % backend)
        self.save = find_program("iptables-%s-save" % backend)
        with tempfile.NamedTemporaryFile(prefix="kernel-oracle-") as lock:
            # iptables-legacy serialises on a lock file which is common to all
            # namespaces; ours need not wait for anybody.
            os.environ["XTABLES_LOCKFILE"] = lock.name
            run_program([self.restore, "-w", "10"], text)
        self.chains, self.policies = {}, {}
        self.trace_socket = None
        if trace:
            self._number_rules(text)
        if trace and backend == "legacy":
            write_file("/proc/sys/net/netfilter/nf_log/2", "nfnetlink_log")
        elif trace:
            self.handles = self._read_handles()
            self.trace_socket = NetlinkSocket((NFNLGRP_NFTRACE,))

    def counters(self):
        text = run_program([self.save, "-c"])
        return "".join(line + "\n" for line in text.splitlines()
                       if not line.startswith("#"))

    def _number_rules(self, text):
        """Fills self.chains {(table, chain): [rule, ...]} and policies."""
        try:
            text = run_program([self.save])
        except OracleError:
            pass        # not for ordinary users; the text loaded must do then
        table = None
        for line in text.splitlines():
            line = re.sub(r"^\[\d+:\d+\] ", "", line.strip())
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith(":"):
                name, policy = line[1:].split()[:2]
                self.chains[table, name] = []
                if policy != "-":
                    self.policies[table, name] = policy
            elif line.startswith("-A "):
                _, name, spec = (line + " ").split(" ", 2)
                self.chains.setdefault((table, name), []).append(spec.strip())

    def _read_handles(self):
        """{(table, chain, handle): number of the rule} for the nft backend."""
        out, counts = {}, {}
        text = run_program([find_program("nft"), "-j", "-a", "list", "ruleset"])
        for item in json.loads(text)["nftables"]:
            rule = item.get("rule")
            if rule and rule["family"] == "ip":
                key = rule["table"], rule["chain"]
                counts[key] = counts.get(key, 0) + 1
                out[key + (rule["handle"],)] = counts[key]
        return out

    def step(self, table, chain, number, kind):
        """One line of a trace; the implicit end of a user chain is left out."""
        rules = self.chains.get((table, chain), [])
        if number is not None and 1 <= number <= len(rules):
            return {"table": table, "chain": chain, "rule": number,
                    "spec": rules[number - 1]}
        policy = self.policies.get((table, chain))
        if policy is None or kind == "return":
            return None
        return {"table": table, "chain": chain, "policy": policy}

    def read_legacy(self, messages):
        """[(identity, step)] from nfnetlink_log TRACE prefixes."""
        out = []
        for prefix, payload in messages:
            table, chain, kind, number = prefix.rsplit(":", 3)
            step = self.step(table, chain, int(number), kind)
            if step:
                out.append((identity(payload), step))
        return out

    def read_nft(self):
        """[(identity, step)] from nftables trace messages."""
        out, known = [], {}
        for kind, _, body in self.trace_socket.receive():
            if kind != SUBSYS_NFTABLES << 8 | 17:       # NFT_MSG_TRACE
                continue
            attrs = attributes(body)
            ident = attrs.get(6)
            if 8 in attrs:          # the first message shows the headers
                known[ident] = identity(attrs[8] + attrs.get(9, b""))
            table = attrs.get(1, b"").rstrip(b"\0").decode()
            if table == "kernel_oracle":
                continue
            chain = attrs.get(2, b"").rstrip(b"\0").decode()
            what = struct.unpack("!I", attrs[4])[0]
            if what == 3 and 3 in attrs:                # RULE
                handle = struct.unpack("!Q", attrs[3])[0]
                step = self.step(table, chain,
                                 self.handles.get((table, chain, handle)), "")
            elif what == 1:                             # POLICY
                step = self.step(table, chain, None, "policy")
            else:
                step = None
            if step:
                out.append((known.get(ident), step))
        return out


# --------------------------------------------------------------------------
# Injecting and concluding


class Oracle:
    def __init__(self, rules_text, host, backend="legacy", trace=False,
                 stateless=False, conntrack=False, times=False,
                 sets_text=None):
        self.stateless, self.show_conntrack = stateless, conntrack
        self.times, self.begin = times, time.monotonic()
        known = {"interfaces", "routes", "rules", "sysctl", "host_stack",
                 "conntrack", "comment", "name"}
        if set(host) - known:
            raise OracleError("unknown keys in the host model: %s"
                              % sorted(set(host) - known))
        enter_new_namespace()
        self.interfaces = build_host(host)
        self.observer = Observer(not host.get("host_stack", False), trace)
        if sets_text is not None:
            run_program([find_program("ipset"), "restore"], sets_text)
        self.rules = Rules(backend, rules_text, trace)
        use = host.get("conntrack", "auto")
        if use == "auto":
            use = needs_conntrack(rules_text)
        self.uses_conntrack = use
        self.conntrack = Conntrack() if use else None
        self.observer.start(use)
        self.raw_sockets = {}
        self.loopback = None
        self.count = self.late = 0
        self.poll = select.epoll()
        for interface in self.interfaces.values():
            self.poll.register(interface.fd, select.EPOLLIN)
        self.poll.register(self.observer.log, select.EPOLLIN)
        if self.conntrack:
            self.poll.register(self.conntrack.events, select.EPOLLIN)
        if self.rules.trace_socket:
            self.poll.register(self.rules.trace_socket, select.EPOLLIN)
        self.by_fd = {one.fd: one for one in self.interfaces.values()}
        self._collect(Seen())           # whatever the set-up made

    # -- injection

    def _frame(self, spec, data):
        interface = self.interfaces.get(spec["in"])
        mac = interface.mac if interface else b"\0" * 6
        if "dst_mac" in spec:
            mac = mac_bytes(spec["dst_mac"])
        elif interface:
            destination = data[16:20]
            if (destination == b"\xff" * 4 or
                    socket.inet_ntoa(destination) in interface.broadcasts):
                mac = b"\xff" * 6
            elif destination[0] >> 4 == 14:
                mac = b"\x01\x00\x5e" + bytes([destination[1] & 127]) + \
                    destination[2:]
        source = mac_bytes(spec.get("src_mac", "02:ff:00:00:00:01"))
        return mac + (source if interface else b"\0" * 6) + b"\x08\x00" + data

    def _raw_socket(self, spec):
        """A raw socket for packets of the host, owned by uid/gid if asked."""
        key = (spec.get("uid", 0), spec.get("gid", 0), spec.get("mark", 0),
               spec.get("oif", ""))
        if key not in self.raw_sockets:
            sock = raw_socket_as(key[0], key[1])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if key[2]:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK,
                                struct.pack("=I", key[2]))
            if key[3]:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE,
                                key[3].encode())
            self.raw_sockets[key] = sock
        return self.raw_sockets[key]

    def _inject(self, spec, data):
        """Hands the packet to the kernel; gives an errno name or None."""
        where = spec["in"]
        try:
            if where == "local":
                self._raw_socket(spec).sendto(
                    data, (socket.inet_ntoa(data[16:20]), 0))
            elif where == "lo":
                if self.loopback is None:
                    self.loopback = socket.socket(socket.AF_PACKET,
                                                  socket.SOCK_RAW, 0)
                    self.loopback.bind(("lo", 0x0800))
                self.loopback.send(self._frame(spec, data))
            elif where in self.interfaces:
                os.write(self.interfaces[where].fd, self._frame(spec, data))
            else:
                raise OracleError("no interface %r" % where)
        except OSError as problem:
            return errno.errorcode.get(problem.errno, str(problem.errno))
        return None

    # -- observation

    def _collect(self, seen, timeout=0.0):
        """Reads all that is readable; True if there was anything."""
        anything = False
        while True:
            ready = self.poll.poll(timeout)
            if not ready:
                return anything
            anything, timeout = True, 0
            for fd, _ in ready:
                if fd in self.by_fd:
                    interface = self.by_fd[fd]
                    while True:
                        try:
                            frame = os.read(fd, 1 << 17)
                        except BlockingIOError:
                            break
                        if frame[12:14] == b"\x08\x00":
                            seen.frames.append((interface.name, frame[14:],
                                                identity(frame[14:])))
                elif fd == self.observer.log.fileno():
                    events, traces = self.observer.read()
                    seen.events += events
                    if traces:
                        seen.trace += self.rules.read_legacy(traces)
                elif self.conntrack and fd == self.conntrack.events.fileno():
                    seen.conntrack += self.conntrack.read()
                else:
                    seen.trace += self.rules.read_nft()

    def run(self, spec):
        """Injects one packet and gives its verdict."""
        if "in" not in spec:
            raise OracleError("packet without \"in\"")
        self.count += 1
        if "wait" in spec:
            time.sleep(spec["wait"])
        try:
            data = build_packet(spec, (self.count - 1) % 65535 + 1)
        except (OracleError, OSError, ValueError, TypeError, AttributeError,
                struct.error) as problem:
            raise OracleError("packet %d (%s): %s" % (
                self.count, spec.get("id", "no id"), problem))
        # Between two packets nothing happens, but for timers: connections
        # expire (shown with the next packet), incomplete datagrams too.
        seen, late = Seen(), Seen()
        if self._collect(late):
            seen.conntrack = late.conntrack
            self.late += bool(late.events or late.frames)
        moment = time.monotonic() - self.begin
        problem = self._inject(spec, data)
        self._collect(seen)
        # What goes out of lo comes back through a queue of the kernel, nearly
        # always before the write returns, but not by contract.
        while seen.loopback_pending():
            if not self._collect(seen, 0.2):
                break
        verdict = {"id": spec.get("id", self.count)}
        verdict.update(self._conclude(spec, data, seen, problem))
        if self.times:
            verdict["time"] = round(moment, 6)
        if self.stateless and self.conntrack:
            requests = [request for _, request in seen.conntrack if request]
            if requests:
                self.conntrack.forget(requests)
                self._collect(Seen())
        return verdict

    def _conclude(self, spec, data, seen, problem):
        me = identity(data)
        mine = [event for event in seen.events if same_packet(event.identity, me)]
        others = [event for event in seen.events
                  if not same_packet(event.identity, me)]
        frames = [frame for frame in seen.frames if same_packet(frame[2], me)]
        other_frames = [frame for frame in seen.frames
                        if not same_packet(frame[2], me)]

        out = journey(mine, frames, spec["in"] == "local")
        if out["verdict"] == "dropped":
            if problem and out["where"] == "before-netfilter":
                out["where"] = "routing"
            if problem:
                out["errno"] = problem
        generated, parts = [], []
        for event in others:
            # A packet made by the host starts at OUTPUT; what follows, up to
            # the next start, is its way. But what leaves by lo while another
            # packet is being received comes in only behind that one's answers.
            if not parts or event.hook == "out" and event.point == "0":
                parts.append([event])
            else:
                alike = [part for part in parts
                         if same_packet(part[0].identity, event.identity)]
                (alike or parts)[-1].append(event)
        for part in parts:
            ident = part[0].identity
            own = [frame for frame in other_frames
                   if same_packet(frame[2], ident)]
            other_frames = [frame for frame in other_frames
                            if not same_packet(frame[2], ident)]
            made = journey(part, own, True)
            if "packet" not in made:
                made["packet"] = decode_packet(part[-1].data)
            generated.append(made)
        for name, packet, _ in other_frames:        # bypassed every hook
            generated.append({"verdict": "sent", "out": name,
                              "packet": decode_packet(packet)})
        if generated:
            if out["verdict"] == "dropped" and out["where"] in HOOK_NAMES.values():
                out["verdict"] = "rejected"
            out["generated"] = generated
            out["reply"] = reply_word(generated[0]["packet"])
        states = [event.state for event in mine if event.state]
        if self.uses_conntrack:
            out["ct_state"] = states[0] if states else None
        if self.show_conntrack:
            out["conntrack"] = [entry for entry, _ in seen.conntrack]
        if self.rules.trace:
            out["trace"] = [step for ident, step in seen.trace
                            if same_packet(ident, me)]
            made = [step for ident, step in seen.trace
                    if not same_packet(ident, me)]
            if made:
                out["generated_trace"] = made
        return out


class Seen:
    """What was observed after one packet was injected."""

    def __init__(self):
        self.events, self.frames, self.trace, self.conntrack = [], [], [], []

    def loopback_pending(self):
        left = sum(event.hook == "post" and event.point == "1"
                   and event.outdev == "lo" for event in self.events)
        back = sum(event.hook == "pre" and event.point == "0"
                   and event.indev == "lo" for event in self.events)
        return left > back


def raw_socket_as(uid, gid):
    """Opens a raw socket with these ids, which the owner match will see."""
    libc = ctypes.CDLL(None, use_errno=True)
    if uid or gid:
        # Keep the capability for raw sockets when the effective uid changes.
        libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
        os.setegid(gid)
        os.seteuid(uid)
    try:
        return socket.socket(socket.AF_INET, socket.SOCK_RAW,
                             socket.IPPROTO_RAW)
    finally:
        if uid or gid:
            os.seteuid(0)
            os.setegid(0)
            libc.prctl(PR_SET_SECUREBITS, 0, 0, 0, 0)


def reply_word(packet):
    """'tcp-reset' or 'icmp 3/1' and so on."""
    if packet["proto"] == "icmp":
        return "icmp %d/%d" % (packet.get("icmp_type", -1),
                               packet.get("icmp_code", -1))
    if packet["proto"] == "tcp" and "RST" in packet.get("flags", ""):
        return "tcp-reset"
    return str(packet["proto"])


def journey(events, frames, local):
    """The verdict about one packet, from where it was seen."""
    path = []
    for event in events:
        if event.point == "0":
            path.append(HOOK_NAMES[event.hook])
    last = events[-1] if events else None
    out = {}
    delivered = [event for event in events
                 if event.hook == "in" and event.point == "1"]
    if frames:
        name, data, _ = frames[0]
        mark = next((event.mark for event in reversed(events)
                     if event.hook == "post" and event.point == "1"), 0)
        out["verdict"] = "sent" if local else "forwarded"
        out["out"] = name
        out["packet"] = decode_packet(data)
        out["packet"]["mark"] = mark
        also = [dict(out=other, packet=decode_packet(packet))
                for other, packet, _ in frames[1:]]
        also += [{"delivered": event.indev} for event in delivered]
        if also:
            out["also"] = also
    elif delivered:
        event = delivered[-1]
        out["verdict"] = "delivered"
        out["in"] = event.indev
        out["packet"] = decode_packet(event.data)
        out["packet"]["mark"] = event.mark
    else:
        out["verdict"] = "dropped"
        if last is None:
            out["where"] = "before-netfilter"
        elif last.hook in ("pre", "out") and last.point == "0":
            # Seen before defragmentation, not after: conntrack keeps it until
            # the other fragments are there.
            frag = struct.unpack("!H", last.data[6:8])[0]
            out["where"] = HOOK_NAMES[last.hook]
            if frag & 0x3FFF:
                out["verdict"] = "held"
        elif last.point == "1":
            out["where"] = ("transmit" if last.hook == "post" else "routing")
        else:
            out["where"] = HOOK_NAMES[last.hook]
    out["path"] = path
    return out


# --------------------------------------------------------------------------
# Command line


def read_json(path):
    with open(path) as handle:
        try:
            return json.load(handle)
        except ValueError as problem:
            raise OracleError("%s: %s" % (path, problem))


def read_packets(path):
    handle = sys.stdin if path == "-" else open(path)
    with handle:
        for number, line in enumerate(handle, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            try:
                yield json.loads(line)
            except ValueError as problem:
                raise OracleError("%s:%d: %s" % (path, number, problem))


def main():
    parser = argparse.ArgumentParser(
        description="Reports what the Linux kernel does with packets under "
                    "iptables rules.")
    parser.add_argument("rules", metavar="RULES.v4",
                        help="rules as printed by iptables-save")
    parser.add_argument("host", metavar="HOST.json")
    parser.add_argument("packets", metavar="PACKETS.jsonl", help="'-': stdin")
    parser.add_argument("--backend", choices=("legacy", "nft"), default="legacy")
    parser.add_argument("--stateless", action="store_true",
                        help="forget all connections after every packet")
    parser.add_argument("--trace", action="store_true",
                        help="report the rules which each packet matched")
    parser.add_argument("--conntrack", action="store_true",
                        help="report the connection tracking entries which "
                             "each packet made or changed")
    parser.add_argument("--ipset", metavar="FILE",
                        help="sets that the rules name, as `ipset save` "
                             "prints them")
    parser.add_argument("--counters", metavar="FILE",
                        help="write iptables-save -c there at the end")
    parser.add_argument("--times", action="store_true",
                        help="tell when each packet was sent, in seconds")
    parser.add_argument("--stats", action="store_true",
                        help="print packets per second on standard error")
    args = parser.parse_args()
    try:
        with open(args.rules) as handle:
            rules_text = handle.read()
        host = read_json(args.host)
        packets = list(read_packets(args.packets))
        sets_text = None
        if args.ipset:
            with open(args.ipset) as handle:
                sets_text = handle.read()
        oracle = Oracle(rules_text, host, args.backend, args.trace,
                        args.stateless, args.conntrack, args.times,
                        sets_text)
        begin = time.monotonic()
        for spec in packets:
            print(json.dumps(oracle.run(spec)))
        seconds = time.monotonic() - begin
        if args.counters:
            write_file(args.counters, oracle.rules.counters())
        if oracle.late:
            print("kernel_oracle: %d times something happened between two "
                  "packets; verdicts may be incomplete" % oracle.late,
                  file=sys.stderr)
        if args.stats and packets:
            print("%d packets in %.3f s: %.0f/s" % (
                len(packets), seconds, len(packets) / seconds), file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)    # the reader is gone
        return 1
    except (OracleError, OSError, KeyError) as problem:
        sys.stdout.flush()
        print("kernel_oracle: %s" % (
            "missing key %s" % problem if isinstance(problem, KeyError)
            else problem), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
