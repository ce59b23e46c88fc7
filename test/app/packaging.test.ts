/**
 * Dockerfile and compose file of examples/app, as far as they can be tried
 * without Docker: every file that they name is there, and every command runs.
 */
import * as Duration from "effect/Duration"
import { execFileSync, spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { parse } from "yaml"
import { findServer } from "../servers/nats.ts"
import { freePort } from "../servers/process.ts"
import { startServer } from "../servers/redis.ts"
import { build, type Image } from "./image.ts"
import { Process } from "./processes.ts"

const repository = resolve(import.meta.dirname, "../..")
const app = join(repository, "examples/app")
const folder = mkdtempSync(join(tmpdir(), "troupe-image-"))

interface Service {
  readonly image: string
  readonly build?: { readonly context: string; readonly dockerfile: string }
  readonly command?: ReadonlyArray<string>
  readonly environment?: Readonly<Record<string, string>>
  readonly stop_grace_period?: string
  readonly volumes?: ReadonlyArray<string>
}

// the erased boundary of this file: what the compose file says
const { services, volumes } = parse(readFileSync(join(app, "compose.yaml"), "utf8"), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, unknown>>
}
const roles = ["api", "worker", "scheduler"] as const

let image: Image

/** What `npm ci` would install: it is here already. */
const install = (directory: string) => {
  const there = join(repository, "node_modules")
  const here = join(directory, "node_modules")
  mkdirSync(join(here, "@troupe"), { recursive: true })
  for (const name of readdirSync(there)) if (name !== "@troupe") symlinkSync(join(there, name), join(here, name))
  for (const name of readdirSync(join(directory, "packages"))) {
    symlinkSync(join("../../packages", name), join(here, "@troupe", name))
  }
}

const run = (command: string, directory: string) => {
  expect(command).toMatch(/^npm ci /)
  // refuses a lock that does not fit the manifests, and asks nobody
  execFileSync("npm", [...command.split(" ").slice(1), "--dry-run", "--offline"], { cwd: directory, stdio: "pipe" })
  install(directory)
}

beforeAll(() => {
  const { context, dockerfile } = services.api!.build!
  const root = resolve(app, context)
  image = build({ dockerfile: join(root, dockerfile), context: root, folder, run })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** `${NAME:-default}` and `${NAME:?why}`, as compose reads them. */
const interpolate = (text: string, env: Readonly<Record<string, string>>) =>
  text.replaceAll(/\$\{(\w+):([-?])([^}]*)\}/g, (_, name, how, rest) => {
    if (env[name] !== undefined) return env[name]
    if (how === "?") throw new Error(rest)
    return rest
  })

test("the image runs as nobody special", () => {
  expect(image.user).toBe("node")
})

test("the compose file names what there is", () => {
  for (const role of roles) {
    expect(services[role]!.build).toEqual(services.api!.build)
    const { TROUPE_GRACE_PERIOD, ...environment } = services[role]!.environment!
    // what docker kills must have had its grace period, and time to hand back
    const stop = Duration.fromInputUnsafe(`${parseInt(services[role]!.stop_grace_period!)} seconds`)
    const grace = Duration.fromInputUnsafe(TROUPE_GRACE_PERIOD as "30 seconds")
    expect(Duration.toSeconds(stop)).toBeGreaterThanOrEqual(Duration.toSeconds(grace) + 10)
    for (const value of Object.values(environment)) {
      const host = /^\w+:\/\/(\w+)/.exec(value)?.[1]
      if (host !== undefined) expect(Object.keys(services)).toContain(host)
    }
    expect(interpolate(environment.TROUPE_TRANSPORT!, {})).toBe("redis")
    expect(() => interpolate(environment.TROUPE_SIGNING_KEYS!, {})).toThrow("key")
  }
  const sources = Object.values(services).flatMap((service) => service.volumes ?? []).map((one) => one.split(":")[0]!)
  const [files, named] = [sources.filter((one) => one.includes("/")), sources.filter((one) => !one.includes("/"))]
  for (const file of files) expect(existsSync(join(app, file)), file).toBe(true)
  expect(named.toSorted()).toEqual(Object.keys(volumes).toSorted())
  // what Grafana is told to load is where it is mounted
  const mounts = services.telemetry!.volumes!.map((one) => one.split(":")[1])
  const { providers } = parse(readFileSync(join(app, "grafana.yaml"), "utf8"))
  expect(mounts).toContain(providers[0].options.path)
})

const natsStarts = async (args: ReadonlyArray<string>) => {
  const port = String(await freePort())
  const server = spawn(findServer()!, [...args, "--addr", "127.0.0.1", "--port", port], {
    stdio: ["ignore", "ignore", "pipe"]
  })
  let said = ""
  try {
    for await (const text of server.stderr) {
      said += text
      if (said.includes("Server is ready")) break
    }
  } finally {
    server.kill("SIGKILL")
  }
  expect(said).toMatch(/Starting JetStream[\s\S]+Server is ready/)
}

test(
  "the brokers start with these arguments, and the image with each of its commands",
  { timeout: 60_000 },
  async () => {
    const [command, ...settings] = services.redis!.command!
    expect(command).toBe("redis-server")
    const redis = await startServer((port, directory) => [...settings, "--port", String(port), "--dir", directory])
    await natsStarts(services.nats!.command!.map((one) => one === "/data" ? join(folder, "nats") : one))
    const key = execFileSync(process.execPath, [join(app, "key.ts")], { encoding: "utf8" }).trim()
    const given = { TROUPE_SIGNING_KEYS: `one:${key}` }
    const started: Array<Process> = []
    try {
      for (const role of roles) {
        const { command, environment } = services[role]!
        const env = Object.fromEntries(
          Object.entries(environment!).map(([name, value]) => [name, interpolate(value, given)])
        )
        const own = { ...image.env, ...env, TROUPE_REDIS_URL: redis.url, PORT: String(await freePort()) }
        // nobody is there to take traces: that must not matter
        started.push(new Process(role, { ...own, OTEL_EXPORTER_OTLP_ENDPOINT: "" }, command!, image.directory))
      }
      expect(services.api!.command).toEqual(image.command)
      await Promise.all(started.map((one) => one.isReady()))
      const health = ({ env }: Process) =>
        spawnSync(process.execPath, image.healthcheck.slice(1), { cwd: image.directory, env }).status
      expect(started.map(health)).toEqual([0, 0, 0])
      for (const one of started) one.signal("SIGTERM")
      expect(await Promise.all(started.map(({ ended }) => ended))).toEqual([0, 0, 0])
      expect(started.map(health)).toEqual([1, 1, 1])
    } finally {
      for (const one of started) one.signal("SIGKILL")
      await redis.stop()
    }
  }
)
