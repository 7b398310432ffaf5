// Decisions -> what they add up to: verdicts, and which rule translated to what.

import {
  DECISION_BYTES,
  DECISION_DNAT_RULE,
  DECISION_DPORT,
  DECISION_DST,
  DECISION_SNAT_RULE,
  DECISION_SRC,
  DECISION_VERDICT,
  DECISION_WHERE,
  NONE,
  TALLY_NAT,
  TALLY_NAT_BYTES,
  TALLY_NAT_COUNT,
  TALLY_NAT_ENTRIES,
  TALLY_NAT_OTHERS,
} from "../src/layout";

/** Adds `count` decision records up. */
export function tally(tallyAt: usize, decisions: usize, count: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    const decision = decisions + <usize>i * DECISION_BYTES;
    const at = tallyAt + ((<usize>load<u8>(decision, DECISION_VERDICT) * 8 + load<u8>(decision, DECISION_WHERE)) << 3);
    store<u64>(at, load<u64>(at) + 1);
    const dnat = load<u32>(decision, DECISION_DNAT_RULE);
    if (dnat != NONE)
      translated(tallyAt, dnat, load<u32>(decision, DECISION_DST), load<u32>(decision, DECISION_DPORT), 0);
    const snat = load<u32>(decision, DECISION_SNAT_RULE);
    if (snat != NONE) translated(tallyAt, snat, load<u32>(decision, DECISION_SRC), 0, 1);
  }
}

function translated(tallyAt: usize, rule: u32, address: u32, port: u32, source: u32): void {
  let slot = ((rule * 0x9e3779b1) ^ (address * 0x85ebca6b) ^ (port * 0xc2b2ae35)) >> 20;
  for (;;) {
    const entry = tallyAt + TALLY_NAT + <usize>slot * TALLY_NAT_BYTES;
    const owner = load<u32>(entry);
    if (owner == 0) {
      const used = load<u32>(tallyAt, TALLY_NAT_COUNT);
      // three quarters full: the rest is counted together
      if (used >= <u32>((TALLY_NAT_ENTRIES * 3) / 4)) {
        store<u32>(tallyAt, load<u32>(tallyAt, TALLY_NAT_OTHERS) + 1, TALLY_NAT_OTHERS);
        return;
      }
      store<u32>(tallyAt, used + 1, TALLY_NAT_COUNT);
      store<u32>(entry, rule + 1);
      store<u32>(entry, address, 4);
      store<u32>(entry, port, 8);
      store<u32>(entry, source, 12);
      store<u64>(entry, 1, 16);
      return;
    }
    if (
      owner == rule + 1 &&
      load<u32>(entry, 4) == address &&
      load<u32>(entry, 8) == port &&
      load<u32>(entry, 12) == source
    ) {
      store<u64>(entry, load<u64>(entry, 16) + 1, 16);
      return;
    }
    slot = (slot + 1) & (TALLY_NAT_ENTRIES - 1);
  }
}
