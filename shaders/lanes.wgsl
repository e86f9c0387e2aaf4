// Who works together on a row, and how they reduce. Three ways, chosen by a define:
//   SUBGROUPS  the invocations of a subgroup; no barrier. Best on software GPUs, good on all.
//   SHARED     the whole workgroup, through workgroup memory; for GPUs without subgroups.
//   neither    each invocation alone; for software GPUs without subgroups, where barriers cost most.
#if SUBGROUPS
enable subgroups;
// Control flow here depends on the group of lanes alone, which a compiler cannot see.
diagnostic(off, subgroup_uniformity);

fn reduce_add(value: f32, lane: u32) -> f32 {
  return subgroupAdd(value);
}
fn reduce_max(value: f32, lane: u32) -> f32 {
  return subgroupMax(value);
}
fn reduce_min(value: u32, lane: u32) -> u32 {
  return subgroupMin(value);
}
#elif SHARED
var<workgroup> reduce_f32: array<f32, WORKGROUP>;
var<workgroup> reduce_u32: array<u32, WORKGROUP>;

// Every invocation reads the result before anyone may write the next one: hence the last barrier.
fn reduce_add(value: f32, lane: u32) -> f32 {
  reduce_f32[lane] = value;
  workgroupBarrier();
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      reduce_f32[lane] += reduce_f32[lane + half];
    }
    workgroupBarrier();
  }
  let sum = reduce_f32[0];
  workgroupBarrier();
  return sum;
}
fn reduce_max(value: f32, lane: u32) -> f32 {
  reduce_f32[lane] = value;
  workgroupBarrier();
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      reduce_f32[lane] = max(reduce_f32[lane], reduce_f32[lane + half]);
    }
    workgroupBarrier();
  }
  let most = reduce_f32[0];
  workgroupBarrier();
  return most;
}
fn reduce_min(value: u32, lane: u32) -> u32 {
  reduce_u32[lane] = value;
  workgroupBarrier();
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      reduce_u32[lane] = min(reduce_u32[lane], reduce_u32[lane + half]);
    }
    workgroupBarrier();
  }
  let least = reduce_u32[0];
  workgroupBarrier();
  return least;
}
#else
fn reduce_add(value: f32, lane: u32) -> f32 {
  return value;
}
fn reduce_max(value: f32, lane: u32) -> f32 {
  return value;
}
fn reduce_min(value: u32, lane: u32) -> u32 {
  return value;
}
#endif
