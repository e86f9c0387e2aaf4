// Codebooks of the I-quants: points packed two to a word, 16 bits each; see src/quant/iq-grids.ts.
@group(0) @binding($(CODEBOOK)) var<storage, read> codebook: array<u32>;

fn code_at(point: u32) -> u32 {
  return (codebook[point / 2u] >> (point % 2u * 16u)) & 0xffffu;
}

// Coordinates 0..3 of a point with 2 bits each, as digits.
fn digits2(code: u32) -> vec4u {
  return (vec4u(code) >> vec4u(0u, 2u, 4u, 6u)) & vec4u(3u);
}
// All four coordinates of a point with 3 bits each, as digits.
fn digits3(code: u32) -> vec4u {
  return (vec4u(code) >> vec4u(0u, 3u, 6u, 9u)) & vec4u(7u);
}

// +1 or -1 for bits 0..3.
fn signs_of(bits: u32) -> vec4f {
  return 1.0 - 2.0 * vec4f((vec4u(bits) >> vec4u(0u, 1u, 2u, 3u)) & vec4u(1u));
}
// Seven signs and an eighth that makes the number of minus signs even.
fn even_signs(seven: u32) -> u32 {
  return seven | ((countOneBits(seven) % 2u) << 7u);
}

// Levels 8, 25, 43 of the digits 0, 1, 2: the points of IQ2.
fn iq2_octet(code: u32, signs: u32, scale: f32) -> Octet {
  let a = digits2(code);
  let b = digits2(code >> 8u);
  return Octet(
    vec4f(8u + 17u * a + (a >> vec4u(1u))) * signs_of(signs) * scale,
    vec4f(8u + 17u * b + (b >> vec4u(1u))) * signs_of(signs >> 4u) * scale,
  );
}
// Levels -1, 0, 1 of the digits 0, 1, 2, shifted: the points of IQ1.
fn iq1_octet(code: u32, shift: f32, scale: f32) -> Octet {
  return Octet(
    (vec4f(digits2(code)) - 1.0 + shift) * scale,
    (vec4f(digits2(code >> 8u)) - 1.0 + shift) * scale,
  );
}

// Four digits of 2 and of 3 bits, one to a byte.
fn digit_bytes2(code: u32) -> u32 {
  let pairs = (code | (code << 12u)) & 0x000f000fu;
  return (pairs | (pairs << 6u)) & 0x03030303u;
}
fn digit_bytes3(code: u32) -> u32 {
  let pairs = (code & 0x3fu) | ((code & 0xfc0u) << 10u);
  return (pairs & 0x00070007u) | ((pairs & 0x00380038u) << 5u);
}
// The digits of two points of eight, or of four points of four, one to a byte.
fn sixteen_digits2(code0: u32, code1: u32) -> vec4u {
  return vec4u(
    digit_bytes2(code0 & 0xffu),
    digit_bytes2(code0 >> 8u),
    digit_bytes2(code1 & 0xffu),
    digit_bytes2(code1 >> 8u),
  );
}
fn sixteen_digits3(codes: vec4u) -> vec4u {
  return vec4u(
    digit_bytes3(codes.x),
    digit_bytes3(codes.y),
    digit_bytes3(codes.z),
    digit_bytes3(codes.w),
  );
}
