// IQ2_S: super-blocks of 256 in 82 bytes: d (f16); 32 bytes of points, one for eight weights; 32 bytes of
// signs; 8 bytes of two upper bits for each point; 16 nibbles of scales s, one for 16 weights.
// Weight = d * (s + 1/2) / 4 * +-point.
#include "quant/octet"
#include "quant/words"
#include "quant/codebook"
#include "quant/single"

fn octet_at(base: u32, i: u32) -> Octet {
  let block = 16u * base + i / 32u * 82u;
  let k = i % 32u;
  let high = (byte_at(block + 66u + k / 4u) >> (k % 4u * 2u)) & 3u;
  let point = byte_at(block + 2u + k) | (high << 8u);
  let nibble = (byte_at(block + 74u + k / 4u) >> (k % 4u / 2u * 4u)) & 15u;
  let scale = f16_at(block) * (f32(nibble) + 0.5) * 0.25;
  return iq2_octet(code_at(point), byte_at(block + 34u + k), scale);
}
