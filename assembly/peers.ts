// How many routing errors and redirects a sender still gets: ip_error() and ip_rt_send_redirect() in net/ipv4/route.c.
//
// Slots are found by linear probing. A sender that was silent for SILENCE is as good as one never seen: all such are left
// behind when the table is half full, which then doubles only if a quarter is still of use.

import { now } from "./guard";
import { allocate } from "./memory";

/** Errors that may come at once; one more each second (ip_rt_error_burst, ip_rt_error_cost). */
const ERROR_BURST: f64 = 5;
/** Seconds until the second redirect; then twice as many each time (ip_rt_redirect_load). */
const REDIRECT_LOAD: f64 = 0.02;
const REDIRECT_MOST: u32 = 9;
/** After so many seconds without a redirect it begins anew (ip_rt_redirect_silence). */
const SILENCE: f64 = 20.48;

// a slot: address, redirects + 1 (0: free), errors that may come, when it was seen last
const PEER_USED: usize = 4;
const PEER_TOKENS: usize = 8;
const PEER_SEEN: usize = 16;
const PEER_BYTES: usize = 24;
const LEAST_SLOTS: u32 = 1024;

let rationed = false;
let table: usize = 0;
let slots: u32 = 0;
let used: u32 = 0;
/** The table before, if it is as large. */
let spare: usize = 0;

/** Without it each packet gets its error. */
export function rationErrors(): void {
  rationed = true;
}

/** Whether the sender gets an error now; if so it has one less. */
export function takesError(sender: u32): bool {
  if (!rationed) return true;
  const peer = peerOf(sender);
  const tokens = min<f64>(ERROR_BURST, load<f64>(peer, PEER_TOKENS) + now - load<f64>(peer, PEER_SEEN));
  const takes = tokens >= 1;
  store<f64>(peer, takes ? tokens - 1 : tokens, PEER_TOKENS);
  store<f64>(peer, now, PEER_SEEN);
  return takes;
}

export function takesRedirect(sender: u32): bool {
  if (!rationed) return true;
  const peer = peerOf(sender);
  const seen = load<f64>(peer, PEER_SEEN);
  let redirects = load<u32>(peer, PEER_USED) - 1;
  if (now > seen + SILENCE) {
    redirects = 0;
    store<u32>(peer, 1, PEER_USED);
    store<f64>(peer, 0, PEER_TOKENS);
  }
  if (redirects >= REDIRECT_MOST) {
    store<f64>(peer, now, PEER_SEEN);
    return false;
  }
  if (redirects > 0 && now <= seen + REDIRECT_LOAD * <f64>(1 << redirects)) return false;
  store<f64>(peer, now, PEER_SEEN);
  store<u32>(peer, redirects + 2, PEER_USED);
  return true;
}

function peerOf(sender: u32): usize {
  if (used << 1 >= slots) makeRoom();
  const peer = slotOf(sender);
  if (load<u32>(peer, PEER_USED) == 0) {
    used++;
    store<u32>(peer, sender);
    store<u32>(peer, 1, PEER_USED);
    store<f64>(peer, 0, PEER_TOKENS);
    // a new one may have all errors at once
    store<f64>(peer, now - SILENCE - 1, PEER_SEEN);
  }
  return peer;
}

/** That of the sender, or the free one for it. */
function slotOf(sender: u32): usize {
  let place = (sender * 0x9e3779b1) >> 8;
  let peer = table + <usize>(place & (slots - 1)) * PEER_BYTES;
  while (load<u32>(peer, PEER_USED) != 0 && load<u32>(peer) != sender) {
    place++;
    peer = table + <usize>(place & (slots - 1)) * PEER_BYTES;
  }
  return peer;
}

function makeRoom(): void {
  const before = table;
  const end = before + <usize>slots * PEER_BYTES;
  let kept: u32 = 0;
  for (let peer = before; peer != end; peer += PEER_BYTES) kept += isOfUse(peer);
  const count = max<u32>(LEAST_SLOTS, kept << 2 >= slots ? slots << 1 : slots);
  const isAsLarge = count == slots;
  const room = isAsLarge && spare != 0 ? spare : allocate(<usize>count * PEER_BYTES);
  if (room == 0) unreachable();
  memory.fill(room, 0, <usize>count * PEER_BYTES);
  spare = isAsLarge ? before : 0;
  table = room;
  slots = count;
  used = kept;
  for (let peer = before; peer != end; peer += PEER_BYTES) {
    if (isOfUse(peer) != 0) memory.copy(slotOf(load<u32>(peer)), peer, PEER_BYTES);
  }
}

function isOfUse(peer: usize): u32 {
  return u32(load<u32>(peer, PEER_USED) != 0 && load<f64>(peer, PEER_SEEN) + SILENCE >= now);
}
