// Ways of packets through a tree -> a drawing of it, as SVG: where the work goes.
//
// Packets lie side by side from left to right, each as wide as its share. Each row is a step down; a box is a node, or the
// children that too few packets take to be seen. Below the last step hangs a bar, as long as there are boxes compared:
// so the inked area is the work. What stands in a box, and how many packets, tells the title that a pointer brings up.

import type { PartWalk } from "../engine/shape.ts";
import { percent } from "./numbers.ts";

const WIDTH = 1200;
const MARGIN = 20;
const ROW = 26;
/** Height of a box compared. */
const BOX = 6;
const MOST_BOXES = 64;
/** Narrower ones are drawn together. */
const LEAST_WIDTH = 1.5;
const TEXT_WIDTH = 6.5;

export interface Drawing {
  readonly title: string;
  readonly packets: number;
  readonly parts: readonly DrawnPart[];
}

interface DrawnPart {
  readonly title: string;
  readonly walks: readonly PartWalk[];
  /** What a node asks. */
  readonly label: (node: number) => string;
}

/** Packets that have come the same way so far. */
interface Group {
  readonly key: number | null;
  readonly walks: PartWalk[];
}

export function drawTree({ title, packets: total, parts }: Drawing): string {
  const out: string[] = [];
  let top = 56;
  for (const part of parts) {
    // a chain may be called more than once for a packet
    const scale = (WIDTH - 2 * MARGIN) / Math.max(total, part.walks.length);
    out.push(text(MARGIN, top, part.title, "part"));
    const rows = part.walks.reduce((most, { nodes }) => Math.max(most, nodes.length), 0);
    const most = part.walks.reduce((longest, { compared }) => Math.max(longest, compared), 0);
    drawGroup(out, part.walks, { left: MARGIN, top: top + 8, depth: 0, scale, total, label: part.label });
    top += 8 + rows * ROW + Math.min(most, MOST_BOXES) * BOX + 48;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${top}" width="${WIDTH}" height="${top}">`,
    "<style>text{font:11px sans-serif;fill:#222}.title{font-size:15px;font-weight:bold}.part{font-size:12px}" +
      ".node{fill:#cfe0f3;stroke:#fff}.others{fill:#dcdcdc;stroke:#fff}</style>",
    `<rect width="${WIDTH}" height="${top}" fill="#fff"/>`,
    text(MARGIN, 28, title, "title"),
    ...out,
    "</svg>",
    "",
  ].join("\n");
}

interface Place {
  readonly left: number;
  readonly top: number;
  readonly depth: number;
  readonly scale: number;
  readonly total: number;
  readonly label: (node: number) => string;
}

/** Boxes of one row, and all below them. */
function drawGroup(out: string[], walks: readonly PartWalk[], place: Place): void {
  const { top, depth, scale, total, label } = place;
  let { left } = place;
  for (const { key, walks: inside } of groupsOf(walks, place)) {
    const width = inside.length * scale;
    const share = percent(inside.length, total);
    const ended = inside.every(({ nodes }) => nodes.length <= depth);
    if (ended) {
      drawLeaves(out, inside, { ...place, left });
    } else if (key === null) {
      const title = `${share} of the packets, nodes that few take`;
      out.push(rect(left, top, width, ROW, "others", title));
      drawLeaves(out, inside, { ...place, left, top: top + ROW });
    } else {
      const what = label(key);
      out.push(rect(left, top, width, ROW, "node", `${share} of the packets: ${what}`));
      if (what.length * TEXT_WIDTH < width) out.push(text(left + 4, top + 17, what));
      drawGroup(out, inside, { ...place, left, top: top + ROW, depth: depth + 1 });
    }
    left += width;
  }
}

/** By the node that comes next, largest first; those too narrow to be seen together, behind. */
function groupsOf(walks: readonly PartWalk[], { depth, scale }: Place): readonly Group[] {
  const byNode = new Map<number, PartWalk[]>();
  const ended: PartWalk[] = [];
  for (const walk of walks) {
    const node = walk.nodes[depth];
    if (node === undefined) ended.push(walk);
    else if (byNode.has(node)) byNode.get(node)!.push(walk);
    else byNode.set(node, [walk]);
  }
  const groups = [...byNode].map(([key, inside]) => ({ key, walks: inside }));
  groups.sort((a, b) => b.walks.length - a.walks.length || a.key - b.key);
  const seen = groups.filter((group) => group.walks.length * scale >= LEAST_WIDTH);
  const others = groups.filter((group) => group.walks.length * scale < LEAST_WIDTH).flatMap((group) => group.walks);
  return [
    ...seen,
    ...(others.length > 0 ? [{ key: null, walks: others }] : []),
    ...(ended.length > 0 ? [{ key: null, walks: ended }] : []),
  ];
}

/** Bars of packets at their leaves, those with most work first. */
function drawLeaves(out: string[], walks: readonly PartWalk[], { left, top, scale, total }: Place): void {
  const counts = new Map<number, number>();
  for (const { compared } of walks) counts.set(compared, (counts.get(compared) ?? 0) + 1);
  let x = left;
  for (const [compared, count] of [...counts].sort((a, b) => b[0] - a[0])) {
    const width = count * scale;
    const title = `${percent(count, total)} of the packets: ${compared} boxes compared`;
    const height = Math.min(compared, MOST_BOXES) * BOX;
    if (height > 0) out.push(rect(x, top, width, height, null, title, colour(compared)));
    x += width;
  }
}

/** From green by yellow to red, with the logarithm of the work. */
function colour(compared: number): string {
  const heat = Math.min(1, Math.log2(Math.max(1, compared)) / 6);
  return `hsl(${Math.round(120 - 120 * heat)},65%,55%)`;
}

function rect(
  x: number,
  y: number,
  width: number,
  height: number,
  name: string | null,
  title: string,
  fill = "",
): string {
  const look = name === null ? `fill="${fill}"` : `class="${name}"`;
  const size = `x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}"`;
  return `<rect ${size} ${look}><title>${escaped(title)}</title></rect>`;
}

function text(x: number, y: number, said: string, name?: string): string {
  return `<text x="${round(x)}" y="${round(y)}"${name === undefined ? "" : ` class="${name}"`}>${escaped(said)}</text>`;
}

function round(value: number): string {
  return String(Math.round(value * 100) / 100);
}

function escaped(said: string): string {
  return said.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
