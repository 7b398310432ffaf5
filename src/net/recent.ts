// How large the lists of `-m recent` are (net/netfilter/xt_recent.c with its parameters as they come).

/** ip_list_tot: addresses of a list; a further one makes room by dropping the one not seen for longest. */
export const RECENT_ENTRIES = 100;

/** Times that are kept of an address where some rule asks for so many hits; a power of two (recent_mt_check()). */
export function stampsKept(hitcount: number): number {
  if (hitcount === 0) return 32;
  let count = 1;
  while (count < hitcount) count *= 2;
  return count;
}

/** The packets' clock in milliseconds. Differs: the kernel's goes in jiffies. */
export function recentClock(seconds: number): number {
  return Math.floor(seconds * 1000 + 0.5);
}
