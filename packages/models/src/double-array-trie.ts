/**
 * A read-only prefix tree in two integer arrays ("double array", Aoe 1989): the child of `node` by `symbol` is
 * `base[node] + symbol`, and exists when `check` of that index is `node`. One step is two array reads.
 */
export interface DoubleArrayTrie {
  readonly base: Int32Array;
  /** Parent of each index, -1 where the index is free. The root is index 0. */
  readonly check: Int32Array;
  /** Value of the key that ends at a node, -1 where none does. */
  readonly value: Int32Array;
}

interface BuildNode {
  readonly children: Map<number, BuildNode>;
  value: number;
}

/**
 * Builds the tree from keys of symbols 1 … `symbols`. Of equal keys the last one's value stays; the empty key is
 * ignored.
 */
export function buildDoubleArrayTrie(
  keys: Iterable<readonly [key: readonly number[], value: number]>,
  symbols: number,
): DoubleArrayTrie {
  return pack(nest(keys), symbols);
}

function nest(keys: Iterable<readonly [readonly number[], number]>): BuildNode {
  const root: BuildNode = { children: new Map(), value: -1 };
  for (const [key, value] of keys) {
    let node = root;
    for (const symbol of key) {
      let child = node.children.get(symbol);
      if (!child) node.children.set(symbol, (child = { children: new Map(), value: -1 }));
      node = child;
    }
    if (node !== root) node.value = value;
  }
  return root;
}

/** Places nodes breadth first, the children of each at the first base where all of them fit. */
function pack(root: BuildNode, symbols: number): DoubleArrayTrie {
  const check: number[] = [0];
  const base: number[] = [];
  const value: number[] = [];
  const queue: (readonly [node: BuildNode, index: number])[] = [[root, 0]];
  let firstFree = 1;

  const isFree = (index: number): boolean => (check[index] ?? -1) === -1;
  const fits = (at: number, wanted: readonly number[]): boolean => wanted.every((symbol) => isFree(at + symbol));

  for (const [node, index] of queue) {
    value[index] = node.value;
    const wanted = [...node.children.keys()].sort((a, b) => a - b);
    const [smallest] = wanted;
    if (smallest === undefined) continue;
    while (!isFree(firstFree)) firstFree++;
    let at = Math.max(0, firstFree - smallest);
    while (!fits(at, wanted)) at++;
    base[index] = at;
    for (const [symbol, child] of node.children) {
      check[at + symbol] = index;
      queue.push([child, at + symbol]);
    }
  }

  // n.b. readers look at base + symbol without a bounds check, so there must be room for every symbol after the last base.
  const size = check.length + symbols + 1;
  const packed = (numbers: readonly number[], absent: number): Int32Array =>
    Int32Array.from({ length: size }, (_, index) => numbers[index] ?? absent);
  return { base: packed(base, 0), check: packed(check, -1), value: packed(value, -1) };
}
