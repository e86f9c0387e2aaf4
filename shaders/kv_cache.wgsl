// Element type of the KV cache: f32, or (KV_F16) pairs of f16 in a u32, which needs no shader-f16.
#if KV_F16
alias Kv4 = vec2u;
fn kv_values(u: Kv4) -> vec4f {
  return vec4f(unpack2x16float(u.x), unpack2x16float(u.y));
}
fn kv_pack(v: vec4f) -> Kv4 {
  return vec2u(pack2x16float(v.xy), pack2x16float(v.zw));
}
#else
alias Kv4 = vec4f;
fn kv_values(v: Kv4) -> vec4f {
  return v;
}
fn kv_pack(v: vec4f) -> Kv4 {
  return v;
}
#endif
