// Products of weight matrices with many vectors (prefill), f32 accumulation; with INT8, of activations in
// int8 and weights that are integers (see `int8`).
//   MODE 0, linear:   y[m, n] = W[n] . x[m]
//   MODE 1, experts:  y[q, n] = W_e[n] . x[q / divisor], for the pairs q = order[start ..] of expert e
// In mode 1 the rows are (token, slot) pairs sorted by expert, and `tiles` lists runs of at most TILE_M
// pairs of one expert: (slot of the expert, start in order, pairs). Tiles of other slabs are left alone.
//   W [columns, k] any number format; x [.., 8 * octets] f32, zeros past k, or [.., blocks of 32] in int8;
//   y [.., y_stride] f32
//
// Three ways to share loads among the TILE_M x TILE_N products of a tile:
//   BROADCAST  a subgroup of LANES lanes; a lane owns COLUMNS columns, the lanes load x together and
//              broadcast it. On a software GPU a load costs as much as ten multiplications or more, and
//              a broadcast about as much as one: 2.3 times the speed of a register tile there.
//   SHARED     a workgroup of 16 x 16 invocations; tiles of x and W in workgroup memory, 4 x 4 products
//              in registers each. For real GPUs.
//   neither    a register tile of 4 x 4 products per invocation; needs nothing.
#include "quant/{FORMAT}"
#if INT8
#include "int8"
#endif

struct Params {
  columns: u32,
  octets: u32, // of k
  rows: u32,
  x_stride: u32, // in octets or blocks
  y_stride: u32,
  first: u32, // of this part's outputs within a row of y
  row_bytes: u32, // of weights
  nothing: u32, // 0; see touch.wgsl
  divisor: u32,
  first_slot: u32,
  slots: u32,
  slot_stride: u32, // from one slot to the next, in 16 bytes
  matrix_start: u32, // from the slot's start to the matrix, in 16 bytes
}
@group(0) @binding(0) var<uniform> p: Params;
#if BROADCAST
#define TOKENS TILE_M
#include "broadcast"
#if TOUCH
#include "touch"
#endif
#elif INT8
@group(0) @binding(2) var<storage, read> x: array<vec4u>;
#else
@group(0) @binding(2) var<storage, read> x: array<vec4f>;
#endif
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
#if MODE == 1
@group(0) @binding(4) var<storage, read> order: array<u32>;
@group(0) @binding(5) var<storage, read> tiles: array<vec4u>;
#endif

// Rows of a tile: where the tile begins, how many rows it has, where its matrix is.
struct Tile {
  start: u32,
  rows: u32,
  base: u32,
}

fn tile_at(index: u32) -> Tile {
#if MODE == 0
  return Tile(index * TILE_M, min(TILE_M, p.rows - index * TILE_M), 0u);
#else
  let tile = tiles[index];
  let slot = tile.x - p.first_slot; // wraps around for earlier slots
  let rows = select(0u, tile.z, slot < p.slots);
  return Tile(tile.y, rows, slot * p.slot_stride + p.matrix_start);
#endif
}

// Start, in octets or blocks, of the row of x that a tile's row takes; rows past the end repeat the last.
fn x_row(tile: Tile, row: u32) -> u32 {
  let at = tile.start + min(row, tile.rows - 1u);
#if MODE == 0
  return at * p.x_stride;
#else
  return order[at] / p.divisor * p.x_stride;
#endif
}

fn store(tile: Tile, row: u32, column: u32, value: f32) {
  if (row < tile.rows && column < p.columns) {
#if MODE == 0
    let at = tile.start + row;
#else
    let at = order[tile.start + row];
#endif
    y[at * p.y_stride + p.first + column] = value;
  }
}

#if BROADCAST
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let tile = tile_at(workgroup.y);
  let n0 = (workgroup.x * (WORKGROUP / LANES) + local / LANES) * LANES * COLUMNS + lane;
  if (tile.rows == 0u || n0 - lane >= p.columns) {
    return;
  }
  let units = p.octets / (GROUPS * GROUP_OCTETS); // of a row
  #for l in 0..X_REGISTERS
  let word$l = step_word($lu, lane);
  let x$l = x_row(tile, word$l / X_WORDS) * X_WORDS + word$l % X_WORDS;
  #endfor
  #for c in 0..COLUMNS
  let base$c = tile.base;
  let column$c = min(n0 + $cu * LANES, p.columns - 1u) * units;
  #endfor
  var column = n0;
#if TOUCH
  #for c in 0..COLUMNS
  column += touch(tile.base, n0 - lane + $cu * LANES, lane);
  #endfor
#endif
#include "broadcast_columns"
  #for t in 0..TILE_M
    #for c in 0..COLUMNS
  store(tile, $tu, column + $cu * LANES, sum$t_$c);
    #endfor
  #endfor
}
#elif SHARED && INT8
#include "matmul_shared_int8"
#elif SHARED
// TILE_M and TILE_N are multiples of 16; a step takes 16 k: two groups of eight.
var<workgroup> shared_x: array<vec4f, TILE_M * 4u>; // [row][k / 4]
var<workgroup> shared_w: array<vec4f, TILE_N * 4u>; // [k / 4][column]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let tile = tile_at(workgroup.y);
  if (tile.rows == 0u) {
    return;
  }
  let n0 = workgroup.x * TILE_N;
  let m = local / 16u;
  let n = local % 16u;
  #for r in 0..TILE_M / 16
    #for c in 0..TILE_N / 16
  var sum$r_$c = 0.0;
    #endfor
  #endfor
  for (var k = 0u; k < p.octets; k += 2u) {
    for (var i = local; i < TILE_M * 2u; i += 256u) {
      let in_range = k + i % 2u < p.octets;
      let at = 2u * (x_row(tile, i / 2u) + min(k + i % 2u, p.octets - 1u));
      shared_x[2u * i] = select(vec4f(), x[at], in_range);
      shared_x[2u * i + 1u] = select(vec4f(), x[at + 1u], in_range);
    }
    for (var i = local; i < TILE_N * 2u; i += 256u) {
      let column = min(n0 + i / 2u, p.columns - 1u);
      let w = octet_at(tile.base, column * p.octets + min(k + i % 2u, p.octets - 1u));
      let at = (i / 2u) + (i % 2u) * 2u * TILE_N;
      shared_w[at] = w.a;
      shared_w[at + TILE_N] = w.b;
    }
    workgroupBarrier();
    #for q in 0..4
    {
      #for r in 0..TILE_M / 16
      let a$r = shared_x[(m + $(16 * r)u) * 4u + $qu];
      #endfor
      #for c in 0..TILE_N / 16
      {
        let b = shared_w[n + $(16 * c)u + $qu * TILE_N];
        #for r in 0..TILE_M / 16
        sum$r_$c += dot(a$r, b);
        #endfor
      }
      #endfor
    }
    #endfor
    workgroupBarrier();
  }
  #for r in 0..TILE_M / 16
    #for c in 0..TILE_N / 16
  store(tile, m + $(16 * r)u, n0 + n + $(16 * c)u, sum$r_$c);
    #endfor
  #endfor
}
#elif INT8
#include "matmul_tile_int8"
#else
// TILE_M is a multiple of 4: each invocation takes 4 columns and, one after the other, runs of 4 rows.
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) workgroup: vec3u) {
  let tile = tile_at(workgroup.y);
  let n0 = id.x * 4u;
  if (tile.rows == 0u || n0 >= p.columns) {
    return;
  }
  #for c in 0..4
  let w$c = min(n0 + $cu, p.columns - 1u) * p.octets;
  #endfor
  for (var m = 0u; m < tile.rows; m += 4u) {
    #for r in 0..4
    let x$r = 2u * x_row(tile, m + $ru);
      #for c in 0..4
    var sum$r_$c = 0.0;
      #endfor
    #endfor
    for (var k = 0u; k < p.octets; k++) {
      #for r in 0..4
      let a$r = x[x$r + 2u * k];
      let b$r = x[x$r + 2u * k + 1u];
      #endfor
      #for c in 0..4
      {
        let w = octet_at(tile.base, w$c + k);
        #for r in 0..4
        sum$r_$c += dot(w.a, a$r) + dot(w.b, b$r);
        #endfor
      }
      #endfor
    }
    #for r in 0..4
      #for c in 0..4
    store(tile, m + $ru, n0 + $cu, sum$r_$c);
      #endfor
    #endfor
  }
}
#endif
