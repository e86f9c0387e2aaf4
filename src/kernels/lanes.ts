import type { Gpu } from '../gpu/device.ts';
import type { ShaderDefines } from '../gpu/shader.ts';

/**
 * Who shares the work on a row (see `shaders/lanes.wgsl`): the lanes of a `subgroup`, a whole
 * workgroup through `shared` memory, or each invocation `alone`.
 */
export type LanesVariant = 'subgroup' | 'shared' | 'alone';

/** The variants that this device can run. */
export function lanesVariants(gpu: Gpu): LanesVariant[] {
  return gpu.capabilities.subgroups ? ['subgroup', 'shared', 'alone'] : ['shared', 'alone'];
}

/**
 * The variant for kernels with many rows: subgroups wherever there are any. Without them, barriers
 * are cheap on a real GPU and cost more than the sharing saves on a software one.
 */
export function manyRowsVariant(gpu: Gpu): LanesVariant {
  if (gpu.capabilities.subgroups) return 'subgroup';
  return gpu.capabilities.software ? 'alone' : 'shared';
}

/** The variant for kernels with few long rows: a real GPU wants a whole workgroup on each. */
export function fewRowsVariant(gpu: Gpu): LanesVariant {
  return gpu.capabilities.software ? manyRowsVariant(gpu) : 'shared';
}

/** Defines of a kernel on lanes, and how many groups of lanes one workgroup makes at least. */
export function lanesLayout(
  gpu: Gpu,
  variant: LanesVariant,
): { defines: ShaderDefines; groupsPerWorkgroup: number } {
  const { subgroups, software, maxWorkgroupSize } = gpu.capabilities;
  switch (variant) {
    case 'subgroup': {
      const workgroup = Math.max(64, subgroups?.max ?? 64);
      return {
        defines: { SUBGROUPS: true, WORKGROUP: workgroup },
        groupsPerWorkgroup: workgroup / (subgroups?.max ?? workgroup),
      };
    }
    case 'shared':
      return {
        defines: { SHARED: true, WORKGROUP: software ? 32 : Math.min(256, maxWorkgroupSize) },
        groupsPerWorkgroup: 1,
      };
    case 'alone':
      return { defines: { WORKGROUP: 64 }, groupsPerWorkgroup: 64 };
  }
}

/** Lanes of a subgroup, where that is a constant that kernels which broadcast can be compiled for. */
export function broadcastLanes(gpu: Gpu): number | undefined {
  const { subgroups } = gpu.capabilities;
  return subgroups && subgroups.min === subgroups.max && subgroups.max <= 32
    ? subgroups.max
    : undefined;
}

/** Workgroups along x for so many groups of lanes. */
export function lanesWorkgroups(groups: number, groupsPerWorkgroup: number): number {
  return Math.ceil(groups / groupsPerWorkgroup);
}
