// Units of the IQ1 formats: four points of eight weights and the signs of their shifts, the scales of the
// two halves. The integers are eight times the shifted coordinates: 8 (digit - 1) +- 1.
#define GROUPS 1
#define LARGEST 9
#include "quant/integers"

struct Unit {
  points: vec4u,
  minus: vec4u, // 1 where the shift is negative, else 0
  scale: vec2f,
}

fn iq1_sixteen(point0: u32, point1: u32, minus: vec2u) -> vec4u {
  let d = sixteen_digits2(code_at(point0), code_at(point1));
  let shift = (7u + 2u * minus) * 0x01010101u;
  return (((8u * d) | vec4u(0x80808080u)) - shift.xxyy) ^ vec4u(0x80808080u);
}

fn unit_group(unit: Unit, g: u32) -> Group {
  return Group(
    iq1_sixteen(unit.points.x, unit.points.y, unit.minus.xy),
    iq1_sixteen(unit.points.z, unit.points.w, unit.minus.zw),
    unit.scale,
    vec2f(),
  );
}
