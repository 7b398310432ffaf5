// The lists of `-m recent` in the engine's memory.

import type { RecentList } from "../compile/memory.ts";
import { ENTRY_BYTES, LIST_BYTES, LIST_ENTRIES, LIST_KEPT, LIST_MASK } from "../layout.ts";
import type { Instance } from "./instance.ts";

/** Makes them, empty, and tells the engine where they are. Throws an EngineError where memory does not suffice. */
export function loadLists(instance: Instance, lists: readonly RecentList[]): void {
  if (lists.length === 0) return;
  const table = instance.allocate(lists.length * 4);
  lists.forEach(({ mask, kept }, number) => {
    const at = instance.allocateZeroed(LIST_BYTES + LIST_ENTRIES * (ENTRY_BYTES + 8 * kept));
    const view = instance.view();
    view.setUint32(at + LIST_MASK, mask, true);
    view.setUint32(at + LIST_KEPT, kept, true);
    view.setUint32(table + number * 4, at, true);
  });
  instance.exports.setLists(table);
}
