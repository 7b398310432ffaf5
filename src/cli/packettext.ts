// A packet as people write it -> a packet line: `tcp 203.0.113.9:40000 > 192.0.2.10:443 in=eth0 flags=SYN`.

import { UsageError } from "./errors.ts";

const WANTED = "PROTO SRC[:PORT] > DST[:PORT] KEY=VALUE... or a JSON object is wanted";

/** What begins with a brace is a line already. Throws UsageError. */
export function packetLineOf(text: string): string {
  if (text.trim().startsWith("{")) return text;
  const [head, tail, ...others] = text.split(">");
  const [proto, src, ...more] = head!.trim().split(/\s+/);
  const [dst, ...settings] = tail?.trim().split(/\s+/) ?? [];
  if (proto === undefined || src === undefined || dst === undefined || dst === "" || more.length + others.length > 0) {
    throw new UsageError(`"${text}" is no packet: ${WANTED}`);
  }
  const line: Record<string, unknown> = {
    proto: /^\d+$/.test(proto) ? Number(proto) : proto,
    ...end("src", "sport", src),
    ...end("dst", "dport", dst),
  };
  for (const setting of settings) {
    const at = setting.indexOf("=");
    if (at <= 0) throw new UsageError(`"${setting}" is no KEY=VALUE: ${WANTED}`);
    line[setting.slice(0, at)] = valueOf(setting.slice(at + 1));
  }
  return JSON.stringify(line);
}

function end(address: string, port: string, text: string): object {
  const [host, number, more] = text.split(":");
  if (more !== undefined || (number !== undefined && !/^\d+$/.test(number))) {
    throw new UsageError(`"${text}" is no ADDRESS or ADDRESS:PORT`);
  }
  return { [address]: host, ...(number === undefined ? {} : { [port]: Number(number) }) };
}

function valueOf(text: string): unknown {
  if (/^(0x[\da-f]+|\d+(\.\d+)?)$/i.test(text)) return Number(text);
  return text === "true" || text === "false" ? text === "true" : text;
}
