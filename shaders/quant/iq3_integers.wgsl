// Units of the IQ3 formats: eight points of four weights, 32 sign bits, a scale. The format gives the
// levels of digits.
#define GROUPS 1
#include "quant/integers"

struct Unit {
  points_a: vec4u,
  points_b: vec4u,
  signs: u32,
  scale: f32,
}

fn iq3_sixteen(points: vec4u, signs: u32) -> vec4u {
  let codes = vec4u(
    code_at(points.x),
    code_at(points.y),
    code_at(points.z),
    code_at(points.w),
  );
  return negated(level_bytes(sixteen_digits3(codes)), sixteen_bits(signs));
}

fn unit_group(unit: Unit, g: u32) -> Group {
  return scaled(
    iq3_sixteen(unit.points_a, unit.signs),
    iq3_sixteen(unit.points_b, unit.signs >> 16u),
    unit.scale,
  );
}
