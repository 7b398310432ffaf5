// Many packets through one program with effects, one after another: each on a copy of its record.

import { CLAUSE_RULE, NONE, PACKET_BYTES } from "../src/layout";
import { startPacket } from "./guard";
import { run } from "./look-up";
import { copyRecord } from "./memory";

/** For each packet the number of the rule or policy that ends its look-up, or NONE; for programs with effects. */
export function decide(program: usize, packets: usize, count: u32, answers: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    copyRecord(COPY, packets + <usize>i * PACKET_BYTES);
    startPacket(i, 0);
    const clause = run(program, COPY);
    store<u32>(answers + ((<usize>i) << 2), clause == 0 ? NONE : load<u32>(clause, CLAUSE_RULE));
  }
}

const COPY = memory.data(64, 16);
