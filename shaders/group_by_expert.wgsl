// Sorts the (token, slot) pairs of a chunk by expert and cuts each expert's run into tiles of at most
// TILE_M pairs, for the grouped products of matmul.wgsl.
//   ids     [pairs] u32, the expert of each pair
//   order   [pairs] u32, pairs by expert; within an expert in any order: no result depends on it
//   tiles   [..] (slot of the expert, start in order, pairs, expert), none for an expert without a slot
//   counts  two triples of workgroup counts for dispatchWorkgroupsIndirect: (x1, tiles, 1), (x2, tiles, 1)
// One workgroup does it all.
const NO_SLOT = 0xffffffffu;

struct Params {
  pairs: u32,
  table: u32, // index of expert 0 of this layer in slot_of
  x1: u32,
  x2: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> slot_of: array<u32>;
@group(0) @binding(3) var<storage, read_write> order: array<u32>;
@group(0) @binding(4) var<storage, read_write> tiles: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> counts: array<u32>;

var<workgroup> next: array<atomic<u32>, EXPERTS>;
var<workgroup> begin: array<u32, EXPERTS>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) local: u32) {
  for (var i = local; i < p.pairs; i += WORKGROUP) {
    atomicAdd(&next[ids[i]], 1u);
  }
  workgroupBarrier();
  if (local == 0u) {
    var start = 0u;
    var tile = 0u;
    for (var e = 0u; e < EXPERTS; e++) {
      let pairs = atomicLoad(&next[e]);
      begin[e] = start;
      let slot = slot_of[p.table + e];
      for (var done = 0u; slot != NO_SLOT && done < pairs; done += TILE_M) {
        tiles[tile] = vec4u(slot, start + done, min(TILE_M, pairs - done), e);
        tile++;
      }
      start += pairs;
      atomicStore(&next[e], 0u);
    }
    counts[0] = p.x1;
    counts[1] = tile;
    counts[2] = 1u;
    counts[3] = p.x2;
    counts[4] = tile;
    counts[5] = 1u;
  }
  workgroupBarrier();
  for (var i = local; i < p.pairs; i += WORKGROUP) {
    order[begin[ids[i]] + atomicAdd(&next[ids[i]], 1u)] = i;
  }
}
