// Per head: RMSNorm of q and k over head_dim (Qwen3), rotary embedding (Su et al. 2021,
// arXiv:2104.09864; NeoX halves: element i turns with element i + head_dim / 2), and the write of k
// and v to the cache.
//   qkv      [tokens, qkv_stride]           f32: q heads, then k heads, then v heads
//   rope     [tokens, head_dim / 2]         (cos, sin) at each token's position
//   gains    [2, head_dim]                  f32: q_norm, then k_norm
//   q_out    [tokens, q_heads, 4 * width]   f32, zeros past head_dim
//   k_cache, v_cache [kv_heads of this binding, capacity, 4 * width]
// One group of lanes per (token, head); a lane turns four elements at a time, or fewer at the end.
#include "lanes"
#include "kv_cache"

struct Params {
  qkv_stride: u32,
  q_heads: u32, // 0 when the q heads were written with an earlier binding's dispatch
  all_q_heads: u32,
  all_kv_heads: u32,
  first_kv_head: u32,
  kv_heads: u32, // of this binding
  capacity: u32,
  position: u32, // of token 0
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> rope: array<vec2f>;
@group(0) @binding(3) var<storage, read> gains: array<f32>;
@group(0) @binding(4) var<storage, read_write> q_out: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> k_cache: array<Kv4>;
@group(0) @binding(6) var<storage, read_write> v_cache: array<Kv4>;

const HALF = HEAD_DIM / 2u;
const WIDTH = (HEAD_DIM + 3u) / 4u;

// Element i of a head after norm and rotation; `at` is the head's start in qkv.
fn turned(at: u32, i: u32, gain: u32, angles: u32, scale: f32) -> f32 {
  if (i >= HEAD_DIM) {
    return 0.0;
  }
  let first = i % HALF;
  let a = qkv[at + first] * gains[gain + first] * scale;
  let b = qkv[at + first + HALF] * gains[gain + first + HALF] * scale;
  let turn = rope[angles + first];
  return select(b * turn.x + a * turn.y, a * turn.x - b * turn.y, i < HALF);
}

fn raw(at: u32, i: u32) -> f32 {
  if (i >= HEAD_DIM) {
    return 0.0;
  }
  return qkv[at + i];
}

@compute @workgroup_size(WORKGROUP)
fn main(
#include "lane_builtins"
) {
#include "lane_indices"
  let token = workgroup.y;
  let head = group;
  if (head >= p.q_heads + 2u * p.kv_heads) {
    return;
  }
  let is_q = head < p.q_heads;
  let kv_head = (head - p.q_heads) % p.kv_heads; // within the binding
  let is_v = !is_q && head - p.q_heads >= p.kv_heads;
  var row = head;
  if (!is_q) {
    row = p.all_q_heads + select(0u, p.all_kv_heads, is_v) + p.first_kv_head + kv_head;
  }
  let at = token * p.qkv_stride + row * HEAD_DIM;
  let cache_at = (kv_head * p.capacity + p.position + token) * WIDTH;

  var squares = 0.0;
  if (!is_v) {
    for (var i = lane; i < HEAD_DIM; i += lanes) {
      squares += qkv[at + i] * qkv[at + i];
    }
  }
  let scale = inverseSqrt(reduce_add(squares, lane) / f32(HEAD_DIM) + p.eps);
  let gain = select(HEAD_DIM, 0u, is_q);
  let angles = token * HALF;
  for (var c = lane; c < WIDTH; c += lanes) {
    let i = 4u * c;
    if (is_v) {
      v_cache[cache_at + c] = kv_pack(vec4f(raw(at, i), raw(at, i + 1u), raw(at, i + 2u), raw(at, i + 3u)));
    } else {
      let value = vec4f(
        turned(at, i, gain, angles, scale),
        turned(at, i + 1u, gain, angles, scale),
        turned(at, i + 2u, gain, angles, scale),
        turned(at, i + 3u, gain, angles, scale),
      );
      if (is_q) {
        q_out[(token * p.q_heads + head) * WIDTH + c] = value;
      } else {
        k_cache[cache_at + c] = kv_pack(value);
      }
    }
  }
}
