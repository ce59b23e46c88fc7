/**
 * Runs once, before all test files: two of them must not install at once.
 */
import { execFileSync } from "node:child_process"
import { findServer } from "./nats.ts"
import { hasPrometheus } from "./prometheus.ts"
import { hasServer } from "./redis.ts"

/** Debian's packages, if a server is missing and we may install it. Otherwise the tests that need it say so. */
export default (): void => {
  const missing = [
    ...hasServer() ? [] : ["redis-server"],
    ...findServer() === undefined ? ["nats-server"] : [],
    ...hasPrometheus() ? [] : ["prometheus"]
  ]
  if (missing.length === 0 || process.getuid?.() !== 0) return
  const options = { stdio: "ignore", env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } } as const
  try {
    execFileSync("apt-get", ["update"], options)
    execFileSync("apt-get", ["install", "-y", "--no-install-recommends", ...missing], options)
  } catch {
    // a machine without Debian's packages, or without a network
  }
}
