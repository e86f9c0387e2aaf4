// Eight consecutive weights of a row, decoded.
//
// Every decoder in this folder declares the weights at binding 1 and gives
//   octet_at(base, i)  the i-th octet of a matrix that begins `base` times 16 bytes into the binding
// for random access, and for kernels that walk along a row, units of OCTETS octets that share their
// loads:
//   load_unit(base, i)  the i-th unit of the matrix, as raw words
//   unit_octet(unit, o) octet o of it
// Rows are whole units.
struct Octet {
  a: vec4f,
  b: vec4f,
}
