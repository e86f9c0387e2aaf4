import { describe, expect, it } from 'vitest';
import { composeShader, type ShaderDefines } from '../src/gpu/shader.ts';
import { nodeShaders } from '../src/node/shaders.ts';
import { formats } from '../src/quant/index.ts';
import { openTestGpu } from './harness.ts';

/** Composes `main` out of given files; returns its lines without indentation. */
function compose(
  main: string,
  defines: ShaderDefines = {},
  others: Record<string, string> = {},
): string[] {
  const library = new Map(Object.entries({ main, ...others }));
  const lines = composeShader(library, 'main', defines).split('\n');
  return lines.map((line) => line.trim()).filter((line) => line !== '');
}

describe('composeShader', () => {
  it('leaves WGSL as it is', () => {
    expect(compose('fn f() {\n  return a % b; // #if is a word here\n}')).toEqual([
      'fn f() {',
      'return a % b; // #if is a word here',
      '}',
    ]);
  });

  it('declares numbers as constants, and neither booleans nor strings', () => {
    expect(compose('body', { A: 3, ON: true, FORMAT: 'bf16' })).toEqual([
      'const A: u32 = 3u;',
      'body',
    ]);
  });

  it('includes a file once, wherever it is asked for', () => {
    const others = { a: '#include "b"\nin a', b: 'in b' };
    expect(compose('#include "b"\n#include "a"\n#include "a"', {}, others)).toEqual([
      'in b',
      'in a',
    ]);
  });

  it('fills names into the path of an include', () => {
    const main = '#include "quant/{FORMAT}"';
    expect(compose(main, { FORMAT: 'x' }, { 'quant/x': 'in x' })).toEqual(['in x']);
    expect(() => compose(main, {}, {})).toThrow('no shader "quant/{FORMAT}"');
  });

  it.each([
    [{ A: 1 }, ['one']],
    [{ A: 2, B: true }, ['two', 'both']],
    [{ A: 2, B: false }, ['two']],
    [{}, ['none']],
  ])('takes the branch of %o', (defines, expected) => {
    const main = `
      #if A == 1
      one
      #elif A == 2
      two
        #if B
      both
        #endif
      #else
      none
      #endif`;
    expect(compose(main, defines).filter((line) => !line.startsWith('const'))).toEqual(expected);
  });

  it('does not look into branches that are not taken', () => {
    expect(compose('#if 0\n#include "missing"\n#for i in 0..9\n$i\n#endfor\n#endif\nrest')).toEqual(
      ['rest'],
    );
  });

  it('unrolls loops, also nested ones, empty ones and ones over expressions', () => {
    const main = `
      #for i in 0..N / 2
        #for j in i..2
      a$i_$j = $(i * 10 + j)u;
        #endfor
      #endfor
      #for i in 1..1
      never
      #endfor`;
    expect(compose(main, { N: 4 }).slice(1)).toEqual(['a0_0 = 0u;', 'a0_1 = 1u;', 'a1_1 = 11u;']);
  });

  it('decides per turn of a loop', () => {
    const main = '#for i in 0..3\n#if i == 1\none\n#else\n$i\n#endif\n#endfor';
    expect(compose(main)).toEqual(['0', 'one', '2']);
  });

  it('puts directives first, once each', () => {
    const others = { a: 'enable f16;\nin a', b: 'enable f16;\nenable subgroups;\nin b' };
    expect(compose('#include "a"\n#include "b"', { N: 1 }, others)).toEqual([
      'enable f16;',
      'enable subgroups;',
      'const N: u32 = 1u;',
      'in a',
      'in b',
    ]);
  });

  it.each([
    ['1 + 2 * 3', 7],
    ['(1 + 2) * 3', 9],
    ['7 / 2', 3],
    ['7 % 4 - 5', -2],
    ['-N + 1', -4],
    ['10 - 3 - 2', 5],
    ['2 < 3 && 3 <= 3', 1],
    ['1 > 2 || 2 >= 3', 0],
    ['N == 5', 1],
    ['N != 5', 0],
    ['!N', 0],
    ['!UNKNOWN', 1],
    ['UNKNOWN + 1', 1],
    ['0 || 4', 1],
  ])('evaluates %s to %i', (expression, value) => {
    expect(compose(`$(${expression})`, { N: 5 }).at(-1)).toBe(String(value));
  });

  it.each([
    '#for i of 0..2\n#endfor',
    '#for i in 0..2',
    '#if 1',
    '#endif',
    '#define A',
    '#if 1 2\n#endif',
    '#if 1 +\n#endif',
  ])('refuses %j', (main) => {
    expect(() => compose(main)).toThrow();
  });

  it('names a shader that does not exist', () => {
    expect(() => composeShader(new Map(), 'nothing', {})).toThrow('no shader "nothing"');
  });
});

describe('the shaders of this package', () => {
  it('compile for subgroups of every size, also those that no device here has', async () => {
    const gpu = await openTestGpu();
    const library = nodeShaders();
    const shaders: [string, ShaderDefines][] = [];
    for (const { shader } of Object.values(formats)) {
      for (const LANES of [4, 8, 16, 32]) {
        for (const TILE_M of [4, 8]) {
          const tile = { BROADCAST: true, WORKGROUP: 64, LANES, COLUMNS: 4, TILE_M, MODE: 1 };
          shaders.push(['matmul', { FORMAT: shader, F16: gpu.capabilities.f16, ...tile }]);
        }
      }
    }
    for (const CHUNKS of [1, 2, 3, 8, 16]) {
      const defines = { SUBGROUPS: true, WORKGROUP: 64, HEAD_DIM: 256, CHUNKS, STEP: 4, ROWS: 2 };
      shaders.push(['attention', { ...defines, KV_F16: true, FINAL: false }]);
    }
    for (const [name, defines] of shaders) {
      const code = composeShader(library, name, defines);
      gpu.device.pushErrorScope('validation');
      const module = gpu.device.createShaderModule({ code });
      const error = await gpu.device.popErrorScope();
      expect(error?.message ?? '', `${name} ${JSON.stringify(defines)}`).toBe('');
      const { messages } = await module.getCompilationInfo();
      expect(messages.filter(({ type }) => type !== 'info').map(({ message }) => message)).toEqual(
        [],
      );
    }
  });
});
