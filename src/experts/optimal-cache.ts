import type { Demands } from './trace-demand.ts';

/**
 * Belady's optimum: what no policy can do better, since it knows the future. Evicts the expert whose
 * next use is furthest away among those that the present demand does not need; when the demand needs
 * more than the cache holds, among all, those that it needs too.
 *
 * Answers per demand how many of its experts were in the cache when it came.
 */
export function optimalHits(demands: Demands, slots: number): Uint32Array {
  const { keys, begins } = demands;
  const allKeys = demands.layers * demands.experts;
  const count = begins.length - 1;
  const hits = new Uint32Array(count);
  const nextUses = findNextUses(demands);
  /** Per key: the demand that uses it next, if it is resident; else -1. */
  const resident = new Float64Array(allKeys).fill(-1);
  let residents = 0;
  // Of (next use, key), as one number. Entries are left behind when their expert is used or evicted.
  const queue = new MaxHeap();
  const evictDownTo = (most: number) => {
    while (residents > most) {
      const entry = queue.pop();
      const key = entry % allKeys;
      if (resident[key] !== Math.floor(entry / allKeys)) continue;
      resident[key] = -1;
      residents--;
    }
  };
  for (let d = 0; d < count; d++) {
    const begin = begins[d]!;
    const end = begins[d + 1]!;
    for (let i = begin; i < end; i++) if (resident[keys[i]!]! >= 0) hits[d]!++;
    const missing = end - begin - hits[d]!;
    // What is needed now has the nearest use of all, so that it is not what goes.
    if (end - begin <= slots) evictDownTo(slots - missing);
    residents += missing;
    for (let i = begin; i < end; i++) {
      resident[keys[i]!] = nextUses[i]!;
      queue.push(nextUses[i]! * allKeys + keys[i]!);
    }
    evictDownTo(slots);
  }
  return hits;
}

/** For each place in `keys`, the demand that needs the same expert next; the number of demands if none. */
function findNextUses({ keys, begins, layers, experts }: Demands): Float64Array {
  const count = begins.length - 1;
  const nextUses = new Float64Array(keys.length);
  const next = new Float64Array(layers * experts).fill(count);
  for (let d = count - 1; d >= 0; d--) {
    for (let i = begins[d]!; i < begins[d + 1]!; i++) {
      nextUses[i] = next[keys[i]!]!;
      next[keys[i]!] = d;
    }
  }
  return nextUses;
}

class MaxHeap {
  readonly #values: number[] = [];

  push(value: number): void {
    const values = this.#values;
    let at = values.length;
    values.push(value);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (values[parent]! >= value) break;
      values[at] = values[parent]!;
      at = parent;
    }
    values[at] = value;
  }

  /** Takes the largest out; there has to be one. */
  pop(): number {
    const values = this.#values;
    const max = values[0]!;
    const value = values.pop()!;
    const size = values.length;
    if (size === 0) return max;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && values[child + 1]! > values[child]!) child++;
      if (values[child]! <= value) break;
      values[at] = values[child]!;
      at = child;
    }
    values[at] = value;
    return max;
  }
}
