// Decision diagrams: functions of many bits, each as one shared graph, so that equal functions are the same number.
//
// What: a node asks one bit, `low` is the function where it is 0, `high` where it is 1. Bits are asked in rising order on
// every path, no node has two equal children, and no two nodes are equal; so a function has exactly one node, and to
// compare two functions is to compare two numbers (Bryant 1986). Leaves may be any number, not only false and true:
// a chain is a function from packets to what becomes of them.
//
// The simplest design would be lists of boxes. It is not used because subtracting boxes from boxes multiplies them, masks
// with holes and marks are no boxes at all, and two lists of boxes for one set do not look alike. Here the union of ten
// thousand conditions costs about what it costs to write them down, and "is anything left" is free.
//
// Layout: nodes stand in three growing arrays, found again by a hash table of open addressing; what an operation has
// answered is kept in a direct-mapped table that forgets. Nothing is freed: a diagram belongs to one comparison.
// Cost: an operation on two functions takes at most the product of their sizes, mostly their sum. Whoever asks for too
// much gets a BudgetError: nodes and steps are counted.

/** A function: the number of its node in a Diagram. */
export type Node = number;

export const FALSE: Node = 0;
export const TRUE: Node = 1;

/** Asks nothing: a leaf. Greater than every bit. */
const LEAF = 0x7fff_ffff;

/** Bits asked one after the other on a path: recursion goes no deeper. */
const MOST_DEEP = 3_000;

/** The comparison would take more memory or steps than it may. */
export class BudgetError extends Error {
  override readonly name = "BudgetError";
}

export interface DiagramBudget {
  /** 20 bytes each. */
  readonly nodes: number;
  /** Some ten million a second. */
  readonly steps: number;
}

/** What an operation does to leaves. Each has its own number in the table of answers. */
export interface Operation {
  readonly code: number;
  /** The answer, if it is known without looking further; -1 otherwise. Must answer where both are leaves. */
  readonly known: (a: Node, b: Node) => Node;
}

export class Diagram {
  readonly #budget: DiagramBudget;
  #bits = new Int32Array(1 << 14);
  #lows = new Int32Array(1 << 14);
  #highs = new Int32Array(1 << 14);
  #count = 0;
  #unique = new Int32Array(1 << 15);
  #steps = 0;
  #depth = 0;
  #codes = 0;
  /** operation, a, b, answer */
  #answers = new Int32Array(4 << 12);
  readonly #leaves = new Map<number, Node>();
  readonly #and = this.operation((a, b) =>
    a === FALSE || b === FALSE ? FALSE : a === TRUE ? b : b === TRUE ? a : a === b ? a : -1,
  );
  readonly #or = this.operation((a, b) =>
    a === TRUE || b === TRUE ? TRUE : a === FALSE ? b : b === FALSE ? a : a === b ? a : -1,
  );
  readonly #not = this.operation((a) => (a === FALSE ? TRUE : a === TRUE ? FALSE : -1));
  /** b where a, else nothing to tell: the place of the third operand is taken by `#over`. */
  readonly #only = this.operation((a, b) => (a === FALSE ? FALSE : a === TRUE ? b : -1));

  constructor(budget: DiagramBudget) {
    this.#budget = budget;
    // FALSE and TRUE
    this.leaf(0);
    this.leaf(1);
  }

  get nodeCount(): number {
    return this.#count;
  }

  /** Steps taken so far: what the budget counts. */
  get steps(): number {
    return this.#steps;
  }

  /** A leaf of this value: 0 is FALSE, 1 is TRUE. */
  leaf(value: number): Node {
    let node = this.#leaves.get(value);
    if (node === undefined) {
      node = this.#push(LEAF, value, value);
      this.#leaves.set(value, node);
    }
    return node;
  }

  isLeaf(node: Node): boolean {
    return this.#bits[node] === LEAF;
  }

  /** Of a leaf. */
  valueOf(node: Node): number {
    return this.#lows[node]!;
  }

  /** The bit that a node asks; more than any bit for a leaf. */
  bitOf(node: Node): number {
    return this.#bits[node]!;
  }

  lowOf(node: Node): Node {
    return this.#lows[node]!;
  }

  highOf(node: Node): Node {
    return this.#highs[node]!;
  }

  /** Asks `bit`, which is below all bits of `low` and `high`. */
  node(bit: number, low: Node, high: Node): Node {
    if (low === high) return low;
    const mask = this.#unique.length - 1;
    let slot = hash(bit, low, high) & mask;
    for (let node = this.#unique[slot]!; node !== 0; node = this.#unique[slot]!) {
      if (this.#bits[node] === bit && this.#lows[node] === low && this.#highs[node] === high) return node;
      slot = (slot + 1) & mask;
    }
    const node = this.#push(bit, low, high);
    this.#unique[slot] = node;
    if (this.#count * 2 > this.#unique.length) this.#rehash();
    return node;
  }

  bit(bit: number): Node {
    return this.node(bit, FALSE, TRUE);
  }

  and(a: Node, b: Node): Node {
    return a < b ? this.apply(this.#and, a, b) : this.apply(this.#and, b, a);
  }

  or(a: Node, b: Node): Node {
    return a < b ? this.apply(this.#or, a, b) : this.apply(this.#or, b, a);
  }

  not(a: Node): Node {
    return this.apply(this.#not, a, FALSE);
  }

  xor(a: Node, b: Node): Node {
    return this.choose(a, this.not(b), b);
  }

  /** `then` where `condition`, else `otherwise`; these two may have any leaves. */
  choose(condition: Node, then: Node, otherwise: Node): Node {
    if (condition === TRUE || then === otherwise) return then;
    if (condition === FALSE) return otherwise;
    if (then === TRUE && otherwise === FALSE) return condition;
    return this.#choose(condition, then, otherwise, new Map());
  }

  #choose(condition: Node, then: Node, otherwise: Node, seen: Map<Node, Map<number, Node>>): Node {
    if (condition === TRUE || then === otherwise) return then;
    if (condition === FALSE) return otherwise;
    const known = seen.get(condition) ?? new Map<number, Node>();
    seen.set(condition, known);
    // both are below 2^26: nodes are counted
    const key = then * 0x400_0000 + otherwise;
    const before = known.get(key);
    if (before !== undefined) return before;
    const bit = Math.min(this.#bits[condition]!, this.#bits[then]!, this.#bits[otherwise]!);
    this.#enter();
    const low = this.#choose(this.#low(condition, bit), this.#low(then, bit), this.#low(otherwise, bit), seen);
    const high = this.#choose(this.#high(condition, bit), this.#high(then, bit), this.#high(otherwise, bit), seen);
    this.#depth--;
    const answer = this.node(bit, low, high);
    known.set(key, answer);
    return answer;
  }

  /** `then` where `condition`, else FALSE. */
  only(condition: Node, then: Node): Node {
    return this.apply(this.#only, condition, then);
  }

  /** A new operation on two functions. */
  operation(known: Operation["known"]): Operation {
    return { code: ++this.#codes, known };
  }

  /** The operation at every point of both functions. */
  apply(operation: Operation, a: Node, b: Node): Node {
    const known = operation.known(a, b);
    if (known >= 0) return known;
    const { code } = operation;
    let at = (hash(code, a, b) & ((this.#answers.length >>> 2) - 1)) << 2;
    let answers = this.#answers;
    if (answers[at] === code && answers[at + 1] === a && answers[at + 2] === b) return answers[at + 3]!;
    const bit = Math.min(this.#bits[a]!, this.#bits[b]!);
    this.#enter();
    const low = this.apply(operation, this.#low(a, bit), this.#low(b, bit));
    const high = this.apply(operation, this.#high(a, bit), this.#high(b, bit));
    this.#depth--;
    const answer = this.node(bit, low, high);
    answers = this.#answers;
    at = (hash(code, a, b) & ((answers.length >>> 2) - 1)) << 2;
    answers[at] = code;
    answers[at + 1] = a;
    answers[at + 2] = b;
    answers[at + 3] = answer;
    return answer;
  }

  /** Every leaf that `node` leads to, once. */
  leavesOf(node: Node): readonly Node[] {
    const leaves: Node[] = [];
    for (const each of this.nodesOf(node)) if (this.isLeaf(each)) leaves.push(each);
    return leaves;
  }

  /** Every node that `node` leads to, itself among them, once. */
  nodesOf(node: Node): Iterable<Node> {
    const seen = new Set([node]);
    const rest = [node];
    for (let here = rest.pop(); here !== undefined; here = rest.pop()) {
      if (this.isLeaf(here)) continue;
      for (const next of [this.#lows[here]!, this.#highs[here]!]) {
        if (seen.has(next)) continue;
        seen.add(next);
        rest.push(next);
      }
    }
    return seen;
  }

  /** The points at which `node` has this leaf. */
  where(node: Node, leaf: Node): Node {
    return this.map(node, (each) => (each === leaf ? TRUE : FALSE));
  }

  /** `where` of every leaf but FALSE. Halves the leaves over and over, so that none is looked for where it is not. */
  wheres(node: Node): readonly (readonly [leaf: Node, where: Node])[] {
    const go = (here: Node, leaves: readonly Node[]): readonly (readonly [Node, Node])[] => {
      if (leaves.length < 2) return leaves.map((leaf) => [leaf, this.where(here, leaf)]);
      const half = leaves.length >> 1;
      return [leaves.slice(0, half), leaves.slice(half)].flatMap((some) => {
        const kept = new Set(some);
        return go(
          this.map(here, (leaf) => (kept.has(leaf) ? leaf : FALSE)),
          some,
        );
      });
    };
    return go(
      node,
      this.leavesOf(node).filter((leaf) => leaf !== FALSE),
    );
  }

  /** Another leaf for each leaf. */
  map(node: Node, leafFor: (leaf: Node) => Node): Node {
    return this.#fold(node, leafFor, (bit, low, high) => this.node(bit, low, high));
  }

  /** Every bit for which `functionOf` gives a function is that function instead. Leaves are mapped. */
  substitute(node: Node, functionOf: (bit: number) => Node | undefined, leafFor: (leaf: Node) => Node): Node {
    return this.#fold(node, leafFor, (bit, low, high) => this.choose(functionOf(bit) ?? this.bit(bit), high, low));
  }

  /** TRUE where some value of the bits that `forgets` makes `node` true. */
  exists(node: Node, forgets: (bit: number) => boolean): Node {
    return this.#fold(
      node,
      (leaf) => leaf,
      (bit, low, high) => (forgets(bit) ? this.or(low, high) : this.node(bit, low, high)),
    );
  }

  /** From the leaves up, each node once. */
  #fold(node: Node, leafFor: (leaf: Node) => Node, join: (bit: number, low: Node, high: Node) => Node): Node {
    const seen = new Map<Node, Node>();
    const go = (here: Node): Node => {
      const before = seen.get(here);
      if (before !== undefined) return before;
      let answer: Node;
      if (this.isLeaf(here)) answer = leafFor(here);
      else {
        this.#enter();
        const low = go(this.#lows[here]!);
        const high = go(this.#highs[here]!);
        this.#depth--;
        answer = join(this.#bits[here]!, low, high);
      }
      seen.set(here, answer);
      return answer;
    };
    return go(node);
  }

  /** A function that is `node` wherever `care` is true, and as small as may be (Coudert and Madre 1990). */
  simplify(node: Node, care: Node): Node {
    if (care === TRUE || care === FALSE || this.isLeaf(node)) return node;
    const seen = new Map<Node, Map<Node, Node>>();
    const go = (here: Node, where: Node): Node => {
      if (where === TRUE || this.isLeaf(here)) return here;
      const known = seen.get(here) ?? new Map<Node, Node>();
      seen.set(here, known);
      const before = known.get(where);
      if (before !== undefined) return before;
      const bit = Math.min(this.#bits[here]!, this.#bits[where]!);
      const [low, high] = [this.#low(where, bit), this.#high(where, bit)];
      this.#enter();
      let answer: Node;
      if (this.#bits[here]! > bit) answer = go(here, this.or(low, high));
      else if (low === FALSE) answer = go(this.#high(here, bit), high);
      else if (high === FALSE) answer = go(this.#low(here, bit), low);
      else answer = this.node(bit, go(this.#low(here, bit), low), go(this.#high(here, bit), high));
      this.#depth--;
      known.set(where, answer);
      return answer;
    };
    return go(node, care);
  }

  /** The share of all points at which `node` is true. */
  density(node: Node): number {
    const seen = new Map<Node, number>([
      [FALSE, 0],
      [TRUE, 1],
    ]);
    const go = (here: Node): number => {
      const before = seen.get(here);
      if (before !== undefined) return before;
      this.#enter();
      const share = (go(this.#lows[here]!) + go(this.#highs[here]!)) / 2;
      this.#depth--;
      seen.set(here, share);
      return share;
    };
    return go(node);
  }

  #low(node: Node, bit: number): Node {
    return this.#bits[node] === bit ? this.#lows[node]! : node;
  }

  #high(node: Node, bit: number): Node {
    return this.#bits[node] === bit ? this.#highs[node]! : node;
  }

  #enter(): void {
    if (++this.#steps > this.#budget.steps) throw new BudgetError(`more than ${this.#budget.steps} steps`);
    if (++this.#depth > MOST_DEEP) throw new BudgetError(`more than ${MOST_DEEP} conditions on the way of one packet`);
  }

  #push(bit: number, low: number, high: number): Node {
    const node = this.#count;
    if (node >= this.#budget.nodes) throw new BudgetError(`more than ${this.#budget.nodes} nodes`);
    if (node === this.#bits.length) {
      this.#bits = grown(this.#bits);
      this.#lows = grown(this.#lows);
      this.#highs = grown(this.#highs);
    }
    this.#bits[node] = bit;
    this.#lows[node] = low;
    this.#highs[node] = high;
    this.#count++;
    return node;
  }

  #rehash(): void {
    const unique = new Int32Array(this.#unique.length * 2);
    const mask = unique.length - 1;
    for (let node = 0; node < this.#count; node++) {
      if (this.#bits[node] === LEAF) continue;
      let slot = hash(this.#bits[node]!, this.#lows[node]!, this.#highs[node]!) & mask;
      while (unique[slot] !== 0) slot = (slot + 1) & mask;
      unique[slot] = node;
    }
    this.#unique = unique;
    // as many answers as nodes
    if (this.#answers.length < 4 * unique.length) this.#answers = new Int32Array(4 * unique.length);
  }
}

function grown(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2);
  larger.set(array);
  return larger;
}

function hash(a: number, b: number, c: number): number {
  let word = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b) ^ Math.imul(c, 0xc2b2ae35);
  word ^= word >>> 15;
  word = Math.imul(word, 0x2c1b3c6d);
  return (word ^ (word >>> 13)) >>> 0;
}
