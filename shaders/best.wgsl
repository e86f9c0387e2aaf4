// The best of a row, one after the other: the largest value below the last pick, lower index first
// among equals. Nothing is marked as taken: the order itself says what is left.
const NONE = 0xffffffffu;
const LOWEST = -3.4028234e38;

struct Best {
  value: f32,
  index: u32,
}

// Whether (value, index) comes before `best` and after `last`. False for NaN.
fn is_better(value: f32, index: u32, best: Best, last: Best) -> bool {
  let above = best.index == NONE || value > best.value || (value == best.value && index < best.index);
  let below = last.index == NONE || value < last.value || (value == last.value && index > last.index);
  return value == value && above && below;
}

fn reduce_best(mine: Best, lane: u32) -> Best {
  let value = reduce_max(select(LOWEST, mine.value, mine.index != NONE), lane);
  let index = reduce_min(select(NONE, mine.index, mine.value == value && mine.index != NONE), lane);
  return Best(value, index);
}
