import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts', 'kernels-test/**/*.test.ts', 'src/**/*.test.ts'],
    globalSetup: 'tests/compile-sources.ts',
    // A process per file: Dawn's native state then ends with the file that made it.
    pool: 'forks',
    // The "GPU" of most machines that run this is their CPU; more processes only wait for each other.
    maxWorkers: 2,
    watch: false,
    // What was once measured on this machine must not decide which kernels a test runs.
    env: { MOWGLI_TUNING: 'off' },
    // The first dispatch of each pipeline compiles it, which takes SwiftShader and lavapipe long.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
