/**
 * Redis over TLS, with a certificate authority that exists for these tests only.
 */
import { Redis } from "ioredis"
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { freePort } from "../servers/process.ts"
import { type RedisServer, startRedis, startServer } from "../servers/redis.ts"
import { refusal, roundTrip } from "./roundTrip.ts"

const directory = mkdtempSync(join(tmpdir(), "troupe-tls-"))
const at = (name: string) => join(directory, name)
const openssl = (...args: ReadonlyArray<string>) => execFileSync("openssl", args, { cwd: directory, stdio: "ignore" })

/** An authority, and a certificate of it for 127.0.0.1. */
const certify = (name: string) => {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
  openssl("req", "-x509", ...key, "-keyout", `${name}.key`, "-out", `${name}.crt`, "-days", "1", "-subj", `/CN=${name}`)
  openssl("req", ...key, "-keyout", `${name}-server.key`, "-out", `${name}.csr`, "-subj", "/CN=redis")
  writeFileSync(at(`${name}.ext`), "subjectAltName=IP:127.0.0.1")
  const signed = ["-CA", `${name}.crt`, "-CAkey", `${name}.key`, "-CAcreateserial", "-extfile", `${name}.ext`]
  openssl("x509", "-req", "-in", `${name}.csr`, ...signed, "-out", `${name}-server.crt`, "-days", "1")
}

const ca = (name: string) => ({ ca: readFileSync(at(`${name}.crt`)) })

const tls = (port: number) =>
  (`--tls-port ${port} --tls-auth-clients no --tls-ca-cert-file ${at("ours.crt")} ` +
    `--tls-cert-file ${at("ours-server.crt")} --tls-key-file ${at("ours-server.key")}`).split(" ")

let server: RedisServer
let port: number
beforeAll(async () => {
  certify("ours")
  certify("theirs")
  port = await freePort()
  server = await startRedis(tls(port))
})
afterAll(async () => {
  await server.stop()
  rmSync(directory, { recursive: true, force: true })
})

test("a job goes its way over TLS", async () => {
  expect(await roundTrip({ url: `rediss://127.0.0.1:${port}/1`, options: { tls: ca("ours") } })).toBe(42)
  expect(await roundTrip({ options: { port, host: "127.0.0.1", tls: ca("ours") } })).toBe(42)
})

test("a certificate of another authority, or one that nobody knows, is refused at once", async () => {
  for (const options of [{ tls: ca("theirs") }, {}]) {
    const message = await refusal({ url: `rediss://127.0.0.1:${port}`, options })
    expect(message).toMatch(
      /^The broker refused the command connection: .*certificate.*: check the certificates of TLS\.$/
    )
  }
})

test("a cluster is reached over TLS", async () => {
  const tlsPort = await freePort()
  const bus = String(await freePort())
  const clustered = ["--cluster-enabled", "yes", "--cluster-port", bus, "--tls-cluster", "yes"]
  const alone = await startRedis([...tls(tlsPort), ...clustered])
  const admin = new Redis(alone.port)
  await admin.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383").finally(() => admin.disconnect())
  try {
    expect(await roundTrip({ nodes: [`rediss://127.0.0.1:${tlsPort}`], options: { tls: ca("ours") } })).toBe(42)
    const wrong = await refusal({ nodes: [`rediss://127.0.0.1:${tlsPort}`], options: { tls: ca("theirs") } })
    expect(wrong).toContain("check the certificates of TLS")
  } finally {
    await alone.stop()
  }
})

test("Sentinels and the master that they know are reached over TLS", async () => {
  const sentinelPort = await freePort()
  const sentinel = await startServer((plain, directory) => {
    const path = join(directory, "sentinel.conf")
    const own = tls(sentinelPort).join(" ").replaceAll(/ ?--/g, "\n")
    const lines = ["bind 127.0.0.1", `port ${plain}`, `dir ${directory}`, "tls-replication yes"]
    writeFileSync(path, [...lines, `sentinel monitor tls 127.0.0.1 ${port} 1`, own, ""].join("\n"))
    return [path, "--sentinel"]
  })
  const at = { sentinels: [`127.0.0.1:${sentinelPort}`], name: "tls" }
  try {
    expect(await roundTrip({ ...at, sentinelTls: ca("ours"), options: { tls: ca("ours") } })).toBe(42)
    const wrong = await refusal({ ...at, sentinelTls: ca("ours"), options: { tls: ca("theirs") } })
    expect(wrong).toContain("check the certificates of TLS")
  } finally {
    await sentinel.stop()
  }
})
