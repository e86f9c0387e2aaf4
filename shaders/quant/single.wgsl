// For decoders whose octets share no loads: a unit is one octet.
#define OCTETS 1
alias Unit = Octet;

fn load_unit(base: u32, i: u32) -> Unit {
  return octet_at(base, i);
}
fn unit_octet(unit: Unit, o: u32) -> Octet {
  return unit;
}
