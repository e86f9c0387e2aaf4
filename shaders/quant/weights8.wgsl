// Eight consecutive weights of a row, decoded. Every decoder in this folder declares the weights at
// binding 1 and gives `weights8(i)`: the i-th group of eight from the start of the binding.
struct Weights8 {
  a: vec4f,
  b: vec4f,
}
