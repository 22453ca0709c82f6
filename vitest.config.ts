import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'sim/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Engine tests hold hundreds of megabytes each; two workers fit the smallest supported machine.
    maxWorkers: 2,
    reporters: ['default'],
  },
});
