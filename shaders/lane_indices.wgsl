// Opens the body of a kernel on lanes: `group` counts groups of lanes along x over the dispatch,
// `lane` is this invocation's place among the `lanes` of its group.
#if SUBGROUPS
  let lane = subgroup_lane;
  let lanes = subgroup_lanes;
  let group = workgroup.x * (WORKGROUP / lanes) + local / lanes;
#elif SHARED
  let lane = local;
  let lanes = WORKGROUP;
  let group = workgroup.x;
#else
  let lane = 0u;
  let lanes = 1u;
  let group = workgroup.x * WORKGROUP + local;
#endif
