// Memory: one bump allocator. Nothing is freed but scratch space, which goes back to a mark; an instance belongs to one
// rule set.

let top: usize = (__heap_base + 63) & ~63;
/** Pages beyond which `allocate` gives 0; set by the host, 64 KiB each. */
let pageLimit: u32 = 65536;

export function setPageLimit(pages: u32): void {
  pageLimit = pages;
}

/** Address of `bytes` fresh bytes, aligned to 64 (a cache line), not zeroed; 0 where the limit is reached. */
export function allocate(bytes: usize): usize {
  const at = top;
  const end: u64 = (<u64>at + <u64>bytes + 63) & ~63;
  const pages = <u64>memory.size();
  if (end > pages << 16) {
    const wanted = (end - (pages << 16) + 0xffff) >> 16;
    // grow by a half at least: each time the host may look through all that it holds for what it can free
    const extra = max<u64>(wanted, pages >> 1);
    const room = <u64>pageLimit > pages ? <u64>pageLimit - pages : 0;
    if (wanted > room) return 0;
    if (memory.grow(<i32>min<u64>(extra, room)) < 0) return 0;
  }
  top = <usize>end;
  return at;
}

/** Where the next allocation will stand: give it to `release` to take back all that came after. */
export function mark(): usize {
  return top;
}

export function release(to: usize): void {
  top = to;
}

/** Copies a packet record: 64 bytes. (memory.copy is a call out of WASM, which costs more than the copy.) */
export function copyRecord(to: usize, from: usize): void {
  v128.store(to, v128.load(from));
  v128.store(to, v128.load(from, 16), 16);
  v128.store(to, v128.load(from, 32), 32);
  v128.store(to, v128.load(from, 48), 48);
}
