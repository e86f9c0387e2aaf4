// Brings rows of weights into the caches of a CPU that plays GPU, before lanes walk along a row each: that
// is a pattern which no prefetcher knows, and the weights of a token are in no cache. Reading one word of
// each line in order is. A product with Q4_0 takes two thirds of the time then.
#define LINE 64

// Touches LANES rows of the matrix at `base` (in 16 bytes). The result is of no use, but it has to be used,
// or else a compiler would leave out the reads: masked with `p.nothing`, which is zero.
fn touch(base: u32, first_row: u32, lane: u32) -> u32 {
  let begin = 16u * base + first_row * p.row_bytes;
  let end = begin + LANES * p.row_bytes;
  var touched = 0u;
  for (var at = begin + lane * LINE; at < end; at += LANES * LINE) {
    touched |= word(at / 4u);
  }
  return touched & p.nothing;
}
