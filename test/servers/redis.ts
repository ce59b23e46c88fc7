/**
 * Real Redis servers for tests: on free loopback ports, in directories of their
 * own, ended by the process that started them.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ended, freePort, guard } from "./process.ts"

export interface RedisServer {
  readonly host: string
  readonly port: number
  readonly url: string
  readonly directory: string
  readonly pid: number
  readonly signal: (signal: NodeJS.Signals) => void
  /** Ends it, waits, and removes its directory. */
  readonly stop: () => Promise<void>
  /** `kill -9`, and the end of the process. */
  readonly kill: () => Promise<void>
  /** Starts it again in the same directory on the same port, after `kill`. */
  readonly restart: () => Promise<void>
}

export const hasServer = (): boolean => {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    const done = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once("error", () => done(false))
    // a server that still loads its data answers, but not with PONG
    socket.once("connect", () => socket.write("PING\r\n"))
    socket.once("data", (data) => done(/^[+-](PONG|NOAUTH|DENIED|ERR)/.test(String(data))))
  })

const whenUp = async (child: ChildProcess, port: number): Promise<void> => {
  for (let attempt = 0; attempt < 400; attempt++) {
    if (await accepts(port)) return
    if (child.exitCode !== null) throw new Error(`redis-server ended with code ${child.exitCode} at its start`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error(`redis-server did not come up on port ${port}`)
}

/** `redis-server` with these arguments, on a free port unless one is given. */
export const startServer = async (
  argumentsFor: (port: number, directory: string) => ReadonlyArray<string>,
  chosen?: number
): Promise<RedisServer> => {
  if (!hasServer()) {
    throw new Error("These tests need redis-server 6.2 or newer on the PATH: install the package redis-server.")
  }
  const directory = mkdtempSync(join(tmpdir(), "troupe-redis-"))
  const port = chosen ?? await freePort()
  const args = argumentsFor(port, directory)
  let child: ChildProcess
  let watcher: ChildProcess | undefined
  const launch = async () => {
    child = spawn("redis-server", [...args], { stdio: "ignore" })
    watcher = guard(child.pid ?? 0, directory)
    await whenUp(child, port)
  }
  await launch()
  const kill = async () => {
    watcher?.kill("SIGKILL")
    child.kill("SIGKILL")
    await ended(child)
  }
  return {
    host: "127.0.0.1",
    port,
    url: `redis://127.0.0.1:${port}/0`,
    directory,
    get pid() {
      return child.pid ?? 0
    },
    signal: (signal) => void child.kill(signal),
    stop: async () => {
      await kill()
      rmSync(directory, { recursive: true, force: true })
    },
    kill,
    restart: launch
  }
}

/** Arguments of a server without persistence. */
export const base = (port: number, directory: string): ReadonlyArray<string> =>
  `--port ${port} --bind 127.0.0.1 --dir ${directory} --appendonly no --save`.split(" ").concat("")

/** A server without persistence, unless `settings` (as in redis.conf) say otherwise. */
export const startRedis = (settings: ReadonlyArray<string> = []): Promise<RedisServer> =>
  startServer((port, directory) => [...base(port, directory), ...settings])

/** Asks until it is so. */
export const until = async (what: string, isSo: () => Promise<boolean>, seconds = 30): Promise<void> => {
  for (let attempt = 0; attempt < seconds * 20; attempt++) {
    // a server that is not there yet, or not any more
    if (await isSo().catch(() => false)) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`it is not so after ${seconds} seconds: ${what}`)
}
