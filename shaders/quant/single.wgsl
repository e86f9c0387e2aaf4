// For decoders whose octets share no loads: a unit is one group, which is one octet.
#define GROUPS 1
#define GROUP_OCTETS 1
alias Unit = Octet;
alias Group = Octet;

fn load_unit(base: u32, i: u32) -> Unit {
  return octet_at(base, i);
}
fn unit_group(unit: Unit, g: u32) -> Group {
  return unit;
}
fn group_octet(group: Group, o: u32) -> Octet {
  return group;
}
