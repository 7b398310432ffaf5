// Closed ranges of whole numbers: ports, addresses, ICMP codes.

/** Both ends belong to the range. */
export interface Range {
  readonly lo: number;
  readonly hi: number;
}

export function contains(range: Range, value: number): boolean {
  return range.lo <= value && value <= range.hi;
}
