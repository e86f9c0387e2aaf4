// Units of the IQ2 formats: four points of eight weights, 32 sign bits, the scales of the two halves.
#define GROUPS 1
#define LARGEST 43
#include "quant/integers"

struct Unit {
  points: vec4u,
  signs: u32,
  scale: vec2f,
}

fn iq2_sixteen(point0: u32, point1: u32, signs: u32) -> vec4u {
  let d = sixteen_digits2(code_at(point0), code_at(point1));
  let levels = 0x08080808u + 17u * d + ((d >> vec4u(1u)) & vec4u(0x01010101u));
  return negated(levels, sixteen_bits(signs));
}

fn unit_group(unit: Unit, g: u32) -> Group {
  return Group(
    iq2_sixteen(unit.points.x, unit.points.y, unit.signs),
    iq2_sixteen(unit.points.z, unit.points.w, unit.signs >> 16u),
    unit.scale,
    vec2f(),
  );
}
