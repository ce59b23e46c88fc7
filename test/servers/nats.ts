/**
 * Real NATS servers with JetStream for tests: on free loopback ports, with file
 * storage in directories of their own, ended by the process that started them.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ended, freePort, guard } from "./process.ts"

export interface NatsServer {
  readonly name: string
  readonly port: number
  readonly url: string
  readonly directory: string
  readonly pid: number
  readonly signal: (signal: NodeJS.Signals) => void
  /** Ends it, waits, and removes its directory. */
  readonly stop: () => Promise<void>
  /** `kill -9`, and the end of the process. */
  readonly kill: () => Promise<void>
  /** Starts it again with its files on its port, after `kill`. */
  readonly restart: () => Promise<void>
  /** Asks its monitoring port: `varz`, `jsz?streams=true`, … */
  readonly monitor: (path: string) => Promise<unknown>
  /** CPU seconds that it used so far. */
  readonly cpuSeconds: () => number
  /** Resident memory in bytes. */
  readonly memory: () => number
}

/** Debian's package installs it where the PATH of a user may not look. */
const places = ["nats-server", "/usr/sbin/nats-server", "/usr/local/sbin/nats-server"]

/** The command that starts it, if it is installed. */
export const findServer = (): string | undefined =>
  places.find((place) => {
    try {
      execFileSync(place, ["--version"], { stdio: "ignore" })
      return true
    } catch {
      return false
    }
  })

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    const done = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once("error", () => done(false))
    // the server speaks first
    socket.once("data", (data) => done(String(data).startsWith("INFO ")))
  })

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

const until = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
  for (let attempt = 0; attempt < 800; attempt++) {
    if (await holds()) return
    await pause(25)
  }
  throw new Error(`nats-server: ${what} did not happen within 20 seconds`)
}

interface Ports {
  readonly client: number
  readonly monitor: number
}

const freePorts = async (): Promise<Ports> => ({ client: await freePort(), monitor: await freePort() })

const launchOn = async (name: string, ports: Ports, settings: string): Promise<NatsServer> => {
  const command = findServer()
  if (command === undefined) {
    throw new Error("These tests need nats-server 2.9 or newer: install the package nats-server.")
  }
  const directory = mkdtempSync(join(tmpdir(), "troupe-nats-"))
  const file = join(directory, "nats.conf")
  const log = join(directory, "nats.log")
  writeFileSync(
    file,
    `server_name: "${name}"
host: "127.0.0.1"
port: ${ports.client}
http: "127.0.0.1:${ports.monitor}"
jetstream { store_dir: "${directory}", max_file: 10GB, max_mem: 1GB }
${settings}
`
  )
  let child: ChildProcess
  let watcher: ChildProcess | undefined
  const launch = async () => {
    const output = openSync(log, "a")
    child = spawn(command, ["--config", file], { stdio: ["ignore", output, output] })
    closeSync(output)
    watcher = guard(child.pid ?? 0, directory)
    await until("start", () => {
      if (child.exitCode === null) return accepts(ports.client)
      throw new Error(`nats-server ended with code ${child.exitCode} at its start:\n${readFileSync(log, "utf8")}`)
    })
  }
  const kill = async () => {
    watcher?.kill("SIGKILL")
    child.kill("SIGKILL")
    await ended(child)
  }
  const stop = async () => {
    await kill()
    rmSync(directory, { recursive: true, force: true })
  }
  await launch().catch(async (error) => {
    await stop()
    throw error
  })
  const status = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1])
  return {
    name,
    port: ports.client,
    url: `nats://127.0.0.1:${ports.client}`,
    directory,
    get pid() {
      return child.pid ?? 0
    },
    signal: (signal) => void child.kill(signal),
    stop,
    kill,
    restart: launch,
    monitor: async (path) => (await fetch(`http://127.0.0.1:${ports.monitor}/${path}`)).json(),
    cpuSeconds: () => {
      // after the name in brackets: state is the first field, user and system time the 12th and 13th, in ticks of 10 ms
      const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ").pop()!.split(" ")
      return (Number(fields[11]) + Number(fields[12])) / 100
    },
    memory: () => status("VmRSS") * 1024
  }
}

/** A server with the `settings` of a configuration file: authorization, tls, accounts, … */
export const startNats = async (settings = ""): Promise<NatsServer> => launchOn("single", await freePorts(), settings)

export interface NatsCluster {
  readonly servers: ReadonlyArray<NatsServer>
  readonly urls: ReadonlyArray<string>
  readonly streams: () => Promise<ReadonlyArray<string>>
  /** Where the only or the leading copy of this stream is; `undefined` while it has no leader. */
  readonly leaderOf: (stream: string) => Promise<NatsServer | undefined>
  readonly stop: () => Promise<void>
}

// the erased boundary of this file: the answers of the monitoring port
interface Jsz {
  readonly meta_cluster?: { readonly leader?: string }
  readonly account_details?: ReadonlyArray<{
    readonly stream_detail?: ReadonlyArray<{ readonly name: string; readonly cluster?: { readonly leader?: string } }>
  }>
}

const jsz = async (server: NatsServer): Promise<Jsz> => {
  try {
    return await server.monitor("jsz?streams=true") as Jsz
  } catch {
    return {}
  }
}

/** Three servers that know each other, once they have a leader. */
export const startCluster = async (settings = ""): Promise<NatsCluster> => {
  const members = await Promise.all(["a", "b", "c"].map(async (name) => ({
    name,
    ports: await freePorts(),
    route: await freePort()
  })))
  const routes = members.map(({ route }) => `"nats://127.0.0.1:${route}"`).join(", ")
  const servers = await Promise.all(members.map(({ name, ports, route }) =>
    launchOn(
      name,
      ports,
      `cluster { name: "troupe", listen: "127.0.0.1:${route}", routes: [${routes}] }\n${settings}`
    )
  ))
  await until("election of a leader", async () => (await jsz(servers[0]!)).meta_cluster?.leader !== undefined)
  const details = async (server: NatsServer) => {
    const { account_details: accounts = [] } = await jsz(server)
    return accounts.flatMap((account) => account.stream_detail ?? [])
  }
  return {
    servers,
    streams: async () => (await Promise.all(servers.map(details))).flat().map(({ name }) => name),
    urls: servers.map(({ url }) => url),
    leaderOf: async (stream) => {
      for (const server of servers) {
        const found = (await details(server)).find(({ name }) => name === stream)
        const leader = servers.find(({ name }) => name === found?.cluster?.leader)
        if (leader !== undefined) return leader
      }
      return undefined
    },
    stop: async () => {
      await Promise.all(servers.map((server) => server.stop()))
    }
  }
}
