import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["packages/*/test/**/*.test.ts", "examples/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**", "test/fixtures/**"],
    globalSetup: ["test/servers/setup.ts"],
    maxWorkers: 2,
    testTimeout: 60_000,
    // what is waited for on a busy machine; a test that fails sooner says more than one that runs out of time
    expect: { poll: { timeout: 20_000 } },
    hookTimeout: 60_000
  }
})
