/**
 * Every way to sign in, TLS, and users with the least rights of their role.
 */
import { nkeys } from "@nats-io/transport-node"
import * as Client from "@troupe/core/Client"
import * as DeadLetter from "@troupe/core/DeadLetter"
import * as JobQueue from "@troupe/core/JobQueue"
import * as Task from "@troupe/core/Task"
import { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, expect, test } from "vitest"
import { type NatsServer, startNats } from "../servers/nats.ts"
import { makeOperator } from "./operator.ts"

const servers: Array<NatsServer> = []
const directories: Array<string> = []
const start = async (settings: string) => {
  const server = await startNats(settings)
  servers.push(server)
  return server
}
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop()
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

const silent = Layer.succeed(References.MinimumLogLevel, "None")

/** The time at the broker, by a transport of these options. */
const ask = (options: NatsTransport.NatsTransportOptions) =>
  Transport.use(({ clock }) => clock).pipe(
    Effect.provide(NatsTransport.layer(options)),
    Effect.provide(silent),
    Effect.timeout("15 seconds")
  )

const refusal = async (options: NatsTransport.NatsTransportOptions) =>
  String((await Effect.runPromise(Effect.flip(ask(options)))).message)

const newUser = () => {
  const pair = nkeys.createUser()
  return { seed: new TextDecoder().decode(pair.getSeed()), name: pair.getPublicKey() }
}

test("user and password, in the URL or in the options; a wrong one is refused at once", async () => {
  const server = await start("authorization { user: alice, password: \"p@ss:word\" }")
  const address = `127.0.0.1:${server.port}`
  expect(await Effect.runPromise(ask({ servers: `nats://alice:p%40ss%3Aword@${address}` }))).toBeGreaterThan(0)
  const credentials = { user: "alice", password: "p@ss:word" }
  expect(await Effect.runPromise(ask({ servers: server.url, credentials }))).toBeGreaterThan(0)
  const started = Date.now()
  for (const servers of [server.url, `nats://alice:wrong@${address}`, `nats://nobody:secret@${address}`]) {
    expect(await refusal({ servers })).toContain("check address, credentials and TLS settings")
  }
  expect(Date.now() - started).toBeLessThan(10_000)
})

test("a token, in the URL or in the options", async () => {
  const server = await start("authorization { token: \"open sesame\" }")
  expect(await Effect.runPromise(ask({ servers: `nats://open%20sesame@127.0.0.1:${server.port}` }))).toBeGreaterThan(0)
  const credentials = { token: "open sesame" }
  expect(await Effect.runPromise(ask({ servers: server.url, credentials }))).toBeGreaterThan(0)
  expect(await refusal({ servers: server.url })).toContain("check address, credentials and TLS settings")
})

test(
  "a creds file of an account of an operator; one of another account, one that ran out and none are refused",
  async () => {
    const { creds, settings, stranger } = makeOperator()
    const server = await start(settings)
    const directory = mkdtempSync(join(tmpdir(), "troupe-creds-"))
    directories.push(directory)
    const sign = (name: string, content: string) => {
      const credsFile = join(directory, name)
      writeFileSync(credsFile, content)
      return { servers: server.url, credentials: { credsFile } }
    }
    expect(await Effect.runPromise(ask(sign("worker.creds", creds())))).toBeGreaterThan(0)
    for (
      const options of [sign("stranger.creds", stranger()), sign("old.creds", creds(1_000)), { servers: server.url }]
    ) {
      expect(await refusal(options)).toContain("check address, credentials and TLS settings")
    }
    expect(await refusal(sign("empty.creds", "nothing"))).toContain("refused to connect")
    const credsFile = join(directory, "missing.creds")
    expect(await refusal({ servers: server.url, credentials: { credsFile } })).toContain(
      "the creds file cannot be read"
    )
  },
  30_000
)

test("an nkey; another one is refused", async () => {
  const user = newUser()
  const server = await start(`authorization { users: [{ nkey: ${user.name} }] }`)
  expect(await Effect.runPromise(ask({ servers: server.url, credentials: { nkey: user.seed } }))).toBeGreaterThan(0)
  expect(await refusal({ servers: server.url, credentials: { nkey: newUser().seed } })).toContain("refused to connect")
  expect(await refusal({ servers: server.url, credentials: { nkey: "no seed" } })).toContain("refused to connect")
})

/** A private authority and the certificate of this host: the client asks for it by this name. */
const certify = () => {
  const directory = mkdtempSync(join(tmpdir(), "troupe-tls-"))
  directories.push(directory)
  const file = (name: string) => join(directory, name)
  const openssl = (...args: ReadonlyArray<string>) => execFileSync("openssl", args, { stdio: "ignore" })
  writeFileSync(file("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
  openssl("req", "-x509", ...key, "-days", "2", "-subj", "/CN=authority", "-keyout", file("ca.key"), "-out", file("ca"))
  openssl("req", ...key, "-subj", "/CN=server", "-keyout", file("key"), "-out", file("request"))
  const issuer = ["-CA", file("ca"), "-CAkey", file("ca.key"), "-CAcreateserial", "-days", "2"]
  openssl("x509", "-req", "-in", file("request"), ...issuer, "-extfile", file("names"), "-out", file("cert"))
  return { authority: readFileSync(file("ca"), "utf8"), cert: file("cert"), key: file("key") }
}

test("TLS with an authority of one's own; an unknown one is refused", async () => {
  const { authority, cert, key } = certify()
  const server = await start(`tls { cert_file: "${cert}", key_file: "${key}" }`)
  const address = `tls://127.0.0.1:${server.port}`
  expect(await Effect.runPromise(ask({ servers: address, options: { tls: { ca: authority } } }))).toBeGreaterThan(0)
  expect(await refusal({ servers: address })).toContain("check address, credentials and TLS settings")
})

// --- roles ---

const queue = "mail ☕"

class Mail extends Task.make("Mail", {
  payload: { n: Schema.Number, fails: Schema.Boolean },
  success: Schema.Number,
  error: Schema.String,
  queue,
  maxAttempts: 2,
  retry: Schedule.spaced("50 millis")
}) {}

const withRoles = async () => {
  const users = { producer: newUser(), worker: newUser(), admin: newUser() }
  const list = (subjects: ReadonlyArray<string>) => `[${subjects.map((subject) => JSON.stringify(subject)).join(", ")}]`
  const entries = (["producer", "worker", "admin"] as const).map((role) => {
    const inboxPrefix = `_INBOX_${role}`
    const { publish, subscribe } = NatsTransport.permissions(role, { queues: [queue], inboxPrefix })
    return `{ nkey: ${users[role].name}, permissions: { publish: ${list(publish)}, subscribe: ${list(subscribe)} } }`
  })
  const server = await start(`authorization { users: [${entries.join(", ")}] }`)
  const optionsOf = (role: keyof typeof users): NatsTransport.NatsTransportOptions => ({
    servers: server.url,
    credentials: { nkey: users[role].seed },
    options: { inboxPrefix: `_INBOX_${role}` },
    bindOnly: role !== "admin",
    patience: "3 seconds"
  })
  return { server, optionsOf }
}

test("a producer, a worker and an admin need no other rights than those of their roles", async () => {
  const { optionsOf } = await withRoles()
  // streams first: nobody else may create them
  await Effect.runPromise(NatsTransport.provision([queue], optionsOf("admin")))
  const WorkerLive = Worker.layer({ tasks: [Mail], concurrency: 8, idleTimeout: "2 seconds" }).pipe(
    Layer.provide(Mail.toLayer(({ fails, n }) => fails ? Effect.fail("bad") : Effect.succeed(n))),
    Layer.provide(NatsTransport.layer(optionsOf("worker")))
  )
  const program = Effect.gen(function*() {
    yield* JobQueue.pause(queue)
    const cancelled = [
      yield* Mail.enqueue({ n: 0, fails: false }),
      yield* Mail.enqueue({ n: 0, fails: false }, { delay: "1 hour" }),
      yield* Mail.enqueue({ n: 0, fails: false }, { key: "k" }),
      yield* Mail.enqueue({ n: 0, fails: false }, { id: "mine" })
    ]
    for (const job of cancelled) expect(yield* job.cancel).toBe("cancelled")
    const back = yield* Mail.enqueue({ n: 0, fails: false }, { delay: "1 hour" })
    expect(yield* back.unschedule).toBe("unscheduled")
    const jobs = [
      yield* Mail.enqueue({ n: 1, fails: false }),
      yield* Mail.enqueue({ n: 2, fails: false }, { key: "k" }),
      yield* Mail.enqueue({ n: 3, fails: false }, { key: "k" }),
      yield* Mail.enqueue({ n: 4, fails: false }, { delay: "300 millis" }),
      yield* Mail.enqueue({ n: 5, fails: false }, { id: "other", priority: "low" })
    ]
    for (const options of [{ delay: "1 hour" }, { delay: "1 hour", key: "k" }] as const) {
      const moved = yield* Mail.enqueue({ n: 6, fails: false }, options)
      expect(yield* moved.reschedule({ delay: "200 millis" })).toBe("rescheduled")
      jobs.push(moved)
    }
    const bad = yield* Mail.enqueue({ n: 6, fails: true })
    yield* JobQueue.resume(queue)
    yield* Layer.build(WorkerLive)
    expect(yield* Effect.forEach(jobs, (job) => job.await, { concurrency: "unbounded" })).toEqual([1, 2, 3, 4, 5, 6, 6])
    expect(yield* Effect.flip(bad.await)).toBe("bad")
    const letters = yield* DeadLetter.list(queue)
    expect(letters.items.map(({ id }) => id)).toEqual([bad.id])
    expect(yield* DeadLetter.drop(queue, [bad.id])).toEqual(["done"])
    const { dead, queued, running, scheduled } = yield* JobQueue.stats(queue)
    expect([scheduled, queued, running, dead]).toEqual([0, 0, 0, 0])
  })
  await Effect.runPromise(
    Effect.scoped(program).pipe(
      Effect.provide(Layer.provideMerge(Client.layer, NatsTransport.layer(optionsOf("producer")))),
      Effect.provide(silent)
    )
  )
}, 60_000)

test("a producer cannot work, and nobody but the admin creates a queue", async () => {
  const { optionsOf } = await withRoles()
  const lease = { queue, priorities: ["default"], consumer: "w", lease: 2_000 } as const
  const outcome = (role: "producer" | "worker", subscribeTo: string) =>
    Effect.runPromise(
      Effect.scoped(Transport.use(({ log }) => log.subscribe({ ...lease, queue: subscribeTo }))).pipe(
        Effect.provide(NatsTransport.layer(optionsOf(role))),
        Effect.match({ onFailure: (error) => error.reason._tag, onSuccess: () => "welcome" }),
        Effect.provide(silent)
      )
    )
  // no streams yet
  expect(await outcome("worker", queue)).toBe("Refused")
  await Effect.runPromise(NatsTransport.provision([queue], optionsOf("admin")))
  expect(await outcome("worker", queue)).toBe("welcome")
  expect(await outcome("producer", queue)).toBe("Refused")
  expect(await outcome("worker", "other")).toBe("Refused")
}, 60_000)
