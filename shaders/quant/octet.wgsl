// Eight consecutive weights of a row, decoded.
//
// Every decoder in this folder declares the weights at binding 1 and gives
//   word(i)            four bytes, counted in fours from the binding's start
//   octet_at(base, i)  the i-th octet of a matrix that begins `base` times 16 bytes into the binding
// for random access, and for kernels that walk along a row, units of GROUPS groups of GROUP_OCTETS octets;
// the groups of a unit share loads, the octets of a group share scales:
//   load_unit(base, i)      the i-th unit of the matrix, as raw words
//   unit_group(unit, g)     group g of it
//   group_octet(group, o)   octet o of that
// Rows are whole units. See `integers` for what decoders of integers times a scale give besides.
struct Octet {
  a: vec4f,
  b: vec4f,
}
