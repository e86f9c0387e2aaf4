// Causal attention with grouped queries over the KV cache, by online softmax (Milakov & Gimelshein
// 2018, arXiv:1805.02867), as in FlashAttention: out = softmax(q k^T / sqrt(head_dim)) v.
//   q        [tokens, q_heads, 4 * WIDTH]  f32
//   k, v     [kv_heads of this binding, capacity, 4 * WIDTH]
//   out      FINAL:  [tokens, out_stride]  f32, head h at h * HEAD_DIM
//            else:   [splits, tokens, q_heads, 4 * WIDTH] sums of one run of positions, not divided
//   partial  [splits, tokens, q_heads] (maximum, sum) of that run's softmax
// A work item is ROWS queries that share one kv head (token major, then head) and one run of
// positions: k and v are loaded once for the ROWS queries.
//
// On lanes (SUBGROUPS): lanes split head_dim, STEP positions at a time; no barrier.
// Otherwise: a workgroup of WORKGROUP invocations takes WORKGROUP positions at a time: one position per
// invocation for the scores, then one or more vec4 columns per invocation for the sums.
#include "kv_cache"
#if SUBGROUPS
#include "lanes"
#endif

struct Params {
  tokens: u32,
  position: u32, // of token 0
  q_heads: u32, // in all
  group: u32, // q heads per kv head
  first_kv_head: u32,
  kv_heads: u32, // of this binding
  capacity: u32,
  run: u32, // positions per split
  out_stride: u32,
  scale: f32, // 1 / sqrt(head_dim)
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> k_cache: array<Kv4>;
@group(0) @binding(3) var<storage, read> v_cache: array<Kv4>;
#if FINAL
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
#else
@group(0) @binding(4) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> partial: array<vec2f>;
#endif

const WIDTH = (HEAD_DIM + 3u) / 4u;
const LOWEST = -3.0e38;

// Query `row` of a kv head: its token and its q head.
fn token_of(row: u32) -> u32 {
  return row / p.group;
}
fn head_of(row: u32, kv_head: u32) -> u32 {
  return kv_head * p.group + row % p.group;
}

fn store(row: u32, kv_head: u32, split: u32, column: u32, value: vec4f, most: f32, sum: f32) {
  let token = token_of(row);
  let head = head_of(row, kv_head);
#if FINAL
  let at = token * p.out_stride + head * HEAD_DIM + 4u * column;
  for (var i = 0u; i < min(4u, HEAD_DIM - 4u * column); i++) {
    out[at + i] = value[i] / sum;
  }
#else
  let at = (split * p.tokens + token) * p.q_heads + head;
  out[at * WIDTH + column] = value;
  if (column == 0u) {
    partial[at] = vec2f(most, sum);
  }
#endif
}

#if SUBGROUPS
@compute @workgroup_size(WORKGROUP)
fn main(
#include "lane_builtins"
) {
#include "lane_indices"
  let rows = p.tokens * p.group;
  let blocks = (rows + ROWS - 1u) / ROWS;
  let kv_head = group / blocks;
  let row0 = group % blocks * ROWS;
  if (kv_head >= p.kv_heads) {
    return;
  }
  let absolute = p.first_kv_head + kv_head;
  let split = workgroup.y;
  let begin = split * p.run;
  #for r in 0..ROWS
  let query$r = min(row0 + $ru, rows - 1u);
  let limit$r = p.position + token_of(query$r); // the last position that this query sees
  var most$r = LOWEST;
  var sum$r = 0.0;
  let q_at$r = (token_of(query$r) * p.q_heads + head_of(query$r, absolute)) * WIDTH;
    #for c in 0..CHUNKS
  var q$r_$c = vec4f();
  var o$r_$c = vec4f();
    #endfor
  #endfor
  #for c in 0..CHUNKS
  if (lane + $cu * lanes < WIDTH) {
    #for r in 0..ROWS
    q$r_$c = q[q_at$r + lane + $cu * lanes] * p.scale;
    #endfor
  }
  #endfor
  let end = min(begin + p.run, limit$(ROWS - 1) + 1u);
  #for r in 0..ROWS
  let end$r = min(end, limit$r + 1u);
  #endfor
  for (var s = begin; s < end; s += STEP) {
    #for i in 0..STEP
    let at$i = (kv_head * p.capacity + min(s + $iu, end - 1u)) * WIDTH;
      #for r in 0..ROWS
    var score$r_$i = 0.0;
      #endfor
    #endfor
    #for c in 0..CHUNKS
    if (lane + $cu * lanes < WIDTH) {
      #for i in 0..STEP
      {
        let key = kv_values(k_cache[at$i + lane + $cu * lanes]);
        #for r in 0..ROWS
        score$r_$i += dot(q$r_$c, key);
        #endfor
      }
      #endfor
    }
    #endfor
    #for r in 0..ROWS
    var most_now$r = most$r;
      #for i in 0..STEP
    score$r_$i = select(LOWEST, reduce_add(score$r_$i, lane), s + $iu < end$r);
    most_now$r = max(most_now$r, score$r_$i);
      #endfor
    #endfor
    // After the first positions a maximum seldom grows. One branch for all: each costs compile time.
    var grows = false;
    #for r in 0..ROWS
    grows = grows | (most_now$r > most$r);
    #endfor
    if (grows) {
      #for r in 0..ROWS
      let shrink$r = exp(most$r - most_now$r);
      most$r = most_now$r;
      sum$r *= shrink$r;
        #for c in 0..CHUNKS
      o$r_$c *= shrink$r;
        #endfor
      #endfor
    }
    #for r in 0..ROWS
      #for i in 0..STEP
    let weight$r_$i = select(0.0, exp(score$r_$i - most$r), score$r_$i > LOWEST);
    sum$r += weight$r_$i;
      #endfor
    #endfor
    #for c in 0..CHUNKS
    if (lane + $cu * lanes < WIDTH) {
      #for i in 0..STEP
      {
        let value = kv_values(v_cache[at$i + lane + $cu * lanes]);
        #for r in 0..ROWS
        o$r_$c += weight$r_$i * value;
        #endfor
      }
      #endfor
    }
    #endfor
  }
  #for r in 0..ROWS
  if (row0 + $ru < rows) {
    #for c in 0..CHUNKS
    if (lane + $cu * lanes < WIDTH) {
      store(query$r, absolute, split, lane + $cu * lanes, o$r_$c, most$r, sum$r);
    }
    #endfor
  }
  #endfor
}
#else
var<workgroup> queries: array<vec4f, ROWS * WIDTH>;
var<workgroup> scores: array<f32, ROWS * WORKGROUP>;
var<workgroup> most: array<f32, ROWS>;
var<workgroup> sum: array<f32, ROWS>;
var<workgroup> shrink: array<f32, ROWS>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let rows = p.tokens * p.group;
  let blocks = (rows + ROWS - 1u) / ROWS;
  let kv_head = workgroup.x / blocks;
  let row0 = workgroup.x % blocks * ROWS;
  let absolute = p.first_kv_head + kv_head;
  let split = workgroup.y;
  let begin = split * p.run;
  let last_row = min(row0 + ROWS, rows) - 1u;
  let end = min(begin + p.run, p.position + token_of(last_row) + 1u);
  for (var i = local; i < ROWS * WIDTH; i += WORKGROUP) {
    let row = min(row0 + i / WIDTH, last_row);
    queries[i] = q[(token_of(row) * p.q_heads + head_of(row, absolute)) * WIDTH + i % WIDTH] * p.scale;
  }
  if (local < ROWS) {
    most[local] = LOWEST;
    sum[local] = 0.0;
  }
  #for r in 0..ROWS
  var o$r = vec4f();
  #endfor
  workgroupBarrier();
  for (var s = begin; s < end; s += WORKGROUP) {
    let positions = min(WORKGROUP, end - s);
    let position = min(s + local, end - 1u);
    let key_at = (kv_head * p.capacity + position) * WIDTH;
    #for r in 0..ROWS
    var score$r = 0.0;
    #endfor
    for (var c = 0u; c < WIDTH; c++) {
      let key = kv_values(k_cache[key_at + c]);
      #for r in 0..ROWS
      score$r += dot(queries[$ru * WIDTH + c], key);
      #endfor
    }
    #for r in 0..ROWS
    {
      let limit = p.position + token_of(min(row0 + $ru, last_row));
      scores[$ru * WORKGROUP + local] = select(LOWEST, score$r, s + local <= limit);
    }
    #endfor
    workgroupBarrier();
    // The softmax of a row is one invocation's work: WORKGROUP exponentials among as many products
    // of head_dim elements by all the others.
    if (local < ROWS) {
      var top = most[local];
      for (var i = 0u; i < positions; i++) {
        top = max(top, scores[local * WORKGROUP + i]);
      }
      let scale_down = exp(most[local] - top);
      var total = sum[local] * scale_down;
      for (var i = 0u; i < positions; i++) {
        let score = scores[local * WORKGROUP + i];
        let weight = select(0.0, exp(score - top), score > LOWEST);
        scores[local * WORKGROUP + i] = weight;
        total += weight;
      }
      most[local] = top;
      sum[local] = total;
      shrink[local] = scale_down;
    }
    workgroupBarrier();
    if (local < WIDTH) {
      #for r in 0..ROWS
      o$r *= shrink[$r];
      #endfor
      for (var i = 0u; i < positions; i++) {
        let value = kv_values(v_cache[(kv_head * p.capacity + s + i) * WIDTH + local]);
        #for r in 0..ROWS
        o$r += scores[$ru * WORKGROUP + i] * value;
        #endfor
      }
    }
    workgroupBarrier();
  }
  if (local < WIDTH) {
    #for r in 0..ROWS
    if (row0 + $ru <= last_row) {
      store(row0 + $ru, absolute, split, local, o$r, most[$r], sum[$r]);
    }
    #endfor
  }
}
#endif
