// How many routing errors and redirects a sender still gets.
//
// ip_error() and ip_rt_send_redirect() in net/ipv4/route.c, on the packets' clock. Differs: the kernel forgets senders
// that were silent for long when it knows more than 65,000 of them.

/** Seconds' worth of errors that may come at once; each costs one (ip_rt_error_burst, ip_rt_error_cost). */
const ERROR_BURST = 5;
/** Seconds until the second redirect; then twice as many each time (ip_rt_redirect_load). */
const REDIRECT_LOAD = 0.02;
const REDIRECT_MOST = 9;
/** After so many seconds without a redirect it begins anew (ip_rt_redirect_silence). */
const REDIRECT_SILENCE = 20.48;

interface Peer {
  tokens: number;
  seen: number;
  redirects: number;
}

export class Peers {
  readonly #peers = new Map<number, Peer>();

  /** Whether the sender gets an error now; if so it has one less. */
  takeError(sender: number, now: number): boolean {
    const peer = this.#of(sender, now);
    peer.tokens = Math.min(ERROR_BURST, peer.tokens + now - peer.seen);
    peer.seen = now;
    if (peer.tokens < 1) return false;
    peer.tokens--;
    return true;
  }

  takeRedirect(sender: number, now: number): boolean {
    const peer = this.#of(sender, now);
    if (now > peer.seen + REDIRECT_SILENCE) {
      peer.tokens = 0;
      peer.redirects = 0;
    }
    if (peer.redirects >= REDIRECT_MOST) {
      peer.seen = now;
      return false;
    }
    if (peer.redirects > 0 && now <= peer.seen + REDIRECT_LOAD * 2 ** peer.redirects) return false;
    peer.seen = now;
    peer.redirects++;
    return true;
  }

  #of(sender: number, now: number): Peer {
    // a new one may have all errors at once
    const peer = this.#peers.get(sender) ?? { tokens: 0, seen: now - 60, redirects: 0 };
    this.#peers.set(sender, peer);
    return peer;
  }
}
