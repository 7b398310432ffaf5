// The token bucket of `-m limit`: how many credits a packet costs, how many there may be, how many come with time.
//
// user2credits() and limit_mt_check() in net/netfilter/xt_limit.c. A kernel of HZ 250 or 1000 has 32,000 credits a
// second; where the product would leave 32 bits it divides first, so that a bucket of 42.9 seconds has room for 42.
// Differs: the kernel's clock goes in jiffies, ours in credits, so a token may come up to 4 ms earlier.

const CREDITS_PER_SECOND = 32000;
/** What `average` counts in: 1/10,000 s. */
const SCALE = 10000;
/** Above this the kernel divides first. */
const MOST_EXACT = Math.floor(0xffffffff / CREDITS_PER_SECOND);

export interface Bucket {
  /** Credits that a packet takes. */
  readonly cost: number;
  /** Credits there may be, and are at the start. */
  readonly cap: number;
}

/** @param average time between two tokens in 1/10,000 s */
export function bucketOf(average: number, burst: number): Bucket {
  return { cost: creditsOf(average), cap: creditsOf(Math.imul(average, burst) >>> 0) };
}

/** The packets' clock in credits: so many come between two packets as it has moved. */
export function creditClock(seconds: number): number {
  return Math.floor(seconds * CREDITS_PER_SECOND + 0.5);
}

function creditsOf(units: number): number {
  if (units > MOST_EXACT) return (Math.floor(units / SCALE) * CREDITS_PER_SECOND) % 2 ** 32;
  return Math.floor((units * CREDITS_PER_SECOND) / SCALE);
}

const UNIT_SECONDS = [24 * 3600, 3600, 60, 1] as const;

/**
 * What a token of iptables-nft costs, in nanoseconds: it asks the kernel for so many packets in the longest unit that says the
 * rate well enough (add_nft_limit() in iptables/nft.c, nft_limit_init() in net/netfilter/nft_limit.c).
 */
export function nftTokenOf(average: number): number {
  const shorter = UNIT_SECONDS.slice(1).findIndex((seconds) => {
    const units = seconds * SCALE;
    return average > units || Math.floor(units / average) < units % average;
  });
  const seconds = UNIT_SECONDS[shorter === -1 ? UNIT_SECONDS.length - 1 : shorter]!;
  return Math.floor((seconds * 1e9) / Math.floor((seconds * SCALE) / average));
}

/** The packets' clock as iptables-nft reckons. */
export function nanoseconds(seconds: number): number {
  return Math.floor(seconds * 1e9 + 0.5);
}

/** What a millisecond brings a bucket of hashlimit: of packets, and of bytes (CREDITS_PER_JIFFY at 1000 a second). */
export const HASH_CREDITS = 1n << 37n;
export const HASH_BYTE_CREDITS = 1 << 22;
/** Most that a bucket of bytes holds. */
export const HASH_BYTE_CAP = HASH_BYTE_CREDITS * 1000;
/** user2credits() in net/netfilter/xt_hashlimit.c: credits for a millionth of a second. */
const CREDITS_PER_MICROSECOND = (HASH_CREDITS * 1000n) / 1_000_000n;

/** Of a bucket of packets: what one costs, and the most it holds. Both in 64 bits, as the kernel reckons. */
export function hashBucketOf(average: number, burst: number): { readonly cost: bigint; readonly cap: bigint } {
  const credits = (microseconds: bigint): bigint => BigInt.asUintN(64, microseconds * CREDITS_PER_MICROSECOND);
  return { cost: credits(BigInt(average)), cap: credits(BigInt(average) * BigInt(burst)) };
}

/** Of a bucket of bytes: what 16 of them cost (user2credits_byte()). */
export function hashByteCost(average: number): number {
  return Number((BigInt(average) * BigInt(HASH_BYTE_CAP)) >> 32n);
}

/** Milliseconds. Differs: the kernel's clock goes in jiffies. */
export function hashClock(seconds: number): number {
  return Math.round(seconds * 1000);
}

/** Of a window: packets or bytes a second that are at the rate, and so many that it takes (user2rate(), user2rate_bytes()). */
export function hashWindowOf(
  average: number,
  burst: number,
  bytes: boolean,
): { readonly rate: bigint; readonly burst: bigint } {
  const rate = bytes ? (Math.floor(0xffffffff / average) - 1) * 16 : Math.floor(1_000_000 / average);
  const most = bytes ? Math.max(1, burst) * rate : burst + rate;
  return { rate: BigInt(rate), burst: BigInt(most) };
}

/** hashlimit_byte_cost(): of a packet, where 16 bytes have this cost. */
export function hashByteCredits(cost: number, length: number): number {
  return Math.min(HASH_BYTE_CAP, (Math.floor(length / 16) + 1) * cost);
}

/** htable_create(): entries that a table may hold; of a machine with more than 1 GB of memory where nothing is said. */
export function hashEntries(size: number, max: number): number {
  const buckets = size === 0 ? 8192 : Math.min(size, MOST_ENTRIES);
  return max === 0 ? 8 * buckets : Math.max(Math.min(max, MOST_ENTRIES), buckets);
}

const MOST_ENTRIES = 1048576;
