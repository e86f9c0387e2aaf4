// Products of groups of 32 integer weights (see quant/integers) with blocks of 32 activations in int8.
//
// A block of activations is 12 words: 32 signed bytes v; then in f32 the scale s, and s times the sum of
// v[0..16], of v[16..32], and of all. An activation is s * v. See `quantize_block`.
//
// The sums of integers are exact, in one of two ways:
//   PAIRS    two products with one multiplication, for software GPUs, where dot4I8Packed is dozens of
//            instructions. Two weights in the 16-bit halves of a word, w0 + 2^16 w1, times two activations
//            with their places exchanged, v1 + 2^16 v0, is w0 v1 + 2^16 (w0 v0 + w1 v1) modulo 2^32. RUN
//            such words can be added before the sum passes 16 bits.
//   neither  dot4I8Packed.
#if PAIRS
#define RUN 32767 / (2 * 127 * LARGEST)

struct Sixteen {
  even: vec4u, // bytes 0 and 2 of each word
  odd: vec4u, // bytes 1 and 3
}

fn weight_sixteen(words: vec4u) -> Sixteen {
  let low = vec4u(0x00ff00ffu);
#if UNSIGNED
  return Sixteen(words & low, (words >> vec4u(8u)) & low);
#else
  let biased = words ^ vec4u(0x80808080u);
  let bias = vec4u(0x00800080u);
  return Sixteen((biased & low) - bias, ((biased >> vec4u(8u)) & low) - bias);
#endif
}

// Bytes 0 and 2 of a word of activations, and bytes 1 and 3, with their places exchanged.
fn even_pair(word: u32) -> u32 {
  let v = bitcast<i32>(word);
  return (bitcast<u32>((v << 24u) >> 24u) << 16u) + bitcast<u32>((v << 8u) >> 24u);
}
fn odd_pair(word: u32) -> u32 {
  let v = bitcast<i32>(word);
  return (bitcast<u32>((v << 16u) >> 24u) << 16u) + bitcast<u32>(v >> 24u);
}
fn activation_sixteen(words: vec4u) -> Sixteen {
  return Sixteen(
    vec4u(even_pair(words.x), even_pair(words.y), even_pair(words.z), even_pair(words.w)),
    vec4u(odd_pair(words.x), odd_pair(words.y), odd_pair(words.z), odd_pair(words.w)),
  );
}

// The upper half of a sum, whose lower half is a signed number too.
fn upper(sum: u32) -> i32 {
  return bitcast<i32>(sum + 0x8000u) >> 16u;
}

fn dot_sixteen(w: Sixteen, x: Sixteen) -> i32 {
  let even = w.even * x.even;
  let odd = w.odd * x.odd;
#if RUN >= 8
  let sums = even + odd;
  return upper((sums.x + sums.y) + (sums.z + sums.w));
#elif RUN >= 4
  let sums = even + odd;
  return upper(sums.x + sums.y) + upper(sums.z + sums.w);
#elif RUN >= 2
  let sums = even + odd;
  return (upper(sums.x) + upper(sums.y)) + (upper(sums.z) + upper(sums.w));
#else
  return ((upper(even.x) + upper(even.y)) + (upper(even.z) + upper(even.w))) +
    ((upper(odd.x) + upper(odd.y)) + (upper(odd.z) + upper(odd.w)));
#endif
}
#else
alias Sixteen = vec4u;

fn weight_sixteen(words: vec4u) -> Sixteen {
  return words;
}
fn activation_sixteen(words: vec4u) -> Sixteen {
  return words;
}

fn dot_sixteen(w: Sixteen, x: Sixteen) -> i32 {
  return (dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y)) +
    (dot4I8Packed(w.z, x.z) + dot4I8Packed(w.w, x.w));
}
#endif

struct Weights {
  a: Sixteen,
  b: Sixteen,
  scale: vec2f,
  offset: vec2f,
}
struct Activations {
  a: Sixteen,
  b: Sixteen,
  scale: vec4f, // and its products with the sums
}

fn weights_of(group: Group) -> Weights {
  return Weights(weight_sixteen(group.a), weight_sixteen(group.b), group.scale, group.offset);
}

fn product(w: Weights, x: Activations) -> f32 {
  let a = dot_sixteen(w.a, x.a);
  let b = dot_sixteen(w.b, x.b);
#if HALVES
  let sum = (f32(a) * w.scale.x + f32(b) * w.scale.y) * x.scale.x;
#if OFFSETS
  return sum + (w.offset.x * x.scale.y + w.offset.y * x.scale.z);
#else
  return sum;
#endif
#else
  let sum = f32(a + b) * x.scale.x;
#if OFFSETS
  return w.scale.x * sum + w.offset.x * x.scale.w;
#else
  return w.scale.x * sum;
#endif
#endif
}
