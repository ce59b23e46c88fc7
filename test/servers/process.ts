/**
 * What every kind of real server for tests needs: a port, and an end.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { createServer } from "node:net"

/** Below the ports that the system gives to clients: none of them takes the port while its server is down. */
const lowest = 15_000
const ports = 17_000

// every process of the test runner begins elsewhere
let last = process.pid * 61

/** Nobody listens on it now. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const tryNext = (left: number) => {
      const port = lowest + last++ % ports
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
