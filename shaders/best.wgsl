// The best of a row, one after the other: the largest value below the last pick, lower index first
// among equals. Nothing is marked as taken: the order itself says what is left.
// Values are compared as integers that are in the same order, since a WGSL compiler may assume that
// there is no NaN and no infinity among floats: `value == value` is not a safe test.

// Key 0 stands for: nothing found, nothing left.
struct Best {
  key: u32,
  index: u32,
}
const NOTHING = Best(0u, 0u);
const BEFORE_ALL = Best(0xffffffffu, 0u);

// A NaN comes before all numbers: what is broken must be seen, not passed over. value_of gives a NaN back.
const NAN_KEY = 0xfffffffeu;

// Zeros of both signs are equal.
fn key_of(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let magnitude = bits & 0x7fffffffu;
  let key = select(0x80000000u - magnitude, 0x80000000u + magnitude, bits == magnitude);
  return select(key, NAN_KEY, magnitude > 0x7f800000u);
}

fn value_of(key: u32) -> f32 {
  return bitcast<f32>(select(0u - key, key - 0x80000000u, key >= 0x80000000u));
}

// Whether (key, index) comes before `best` and after `last`.
fn is_better(key: u32, index: u32, best: Best, last: Best) -> bool {
  let above = key > best.key || (key == best.key && index < best.index);
  let below = key < last.key || (key == last.key && index > last.index);
  return above && below;
}

fn reduce_best(mine: Best, lane: u32) -> Best {
  let key = reduce_max(mine.key, lane);
  return Best(key, reduce_min(select(0xffffffffu, mine.index, mine.key == key), lane));
}
