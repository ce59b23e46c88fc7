/**
 * What every kind of real server for tests needs: a port, and an end.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { createServer } from "node:net"

/** Below the ports that the system gives to clients: none of them takes the port while its server is down. */
const lowest = 15_000
const share = 4_250

// nobody else takes a port between its choice and its server, or while its server is down: of the processes of a test run
// each has ports of its own, and those of another run begin elsewhere
const first = lowest + share * (Number(process.env.VITEST_POOL_ID ?? 0) % 4)
let last = process.pid * 61

/** Nobody listens on it now. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const tryNext = (left: number) => {
      const port = first + last++ % share
      const server = createServer()
      server.once("error", (error) => left > 0 ? tryNext(left - 1) : reject(error))
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(port)))
    }
    tryNext(100)
  })

/** Ends the server also when this process is killed: then its standard input ends, and the shell reads on. */
export const guard = (pid: number, directory: string): ChildProcess => {
  const watcher = spawn("sh", ["-c", "read _; kill -9 \"$0\"; rm -rf \"$1\"", String(pid), directory], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true
  })
  watcher.unref()
  return watcher
}

export const ended = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once("exit", () => resolve())
  })
