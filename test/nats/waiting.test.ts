/**
 * A client whose connection is lost or silent while it awaits a result.
 */
import * as Client from "@troupe/core/Client"
import * as Task from "@troupe/core/Task"
import { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type NatsServer, startNats } from "../servers/nats.ts"
import { type Proxy, startProxy } from "../servers/proxy.ts"

let server: NatsServer
let proxy: Proxy
beforeAll(async () => {
  server = await startNats()
  proxy = await startProxy(server.port)
})
afterAll(async () => {
  await proxy.close()
  await server.stop()
})

const broker = (port: number) => Layer.fresh(NatsTransport.layer({ servers: `nats://127.0.0.1:${port}` }))

const silent = Layer.succeed(References.MinimumLogLevel, "Error")

const run = <A>(body: Effect.Effect<A, unknown, Scope>) =>
  Effect.runPromise(Effect.provide(Effect.scoped(body), silent))

test(
  "who listens is told of a gap when the connection is back, and hears what comes then",
  () =>
    run(
      Effect.gen(function*() {
        const { bus } = yield* Transport
        const heard: Array<string> = []
        let gaps = 0
        yield* bus.subscribe(["results", "c"], ({ bytes }) => heard.push(Buffer.from(bytes).toString()), () => gaps++)
        yield* bus.publish(["results", "c"], Buffer.from("before"))
        yield* Effect.promise(() => expect.poll(() => heard, { timeout: 10_000 }).toEqual(["before"]))
        expect(gaps).toBe(0)
        proxy.cut()
        yield* Effect.promise(() => expect.poll(() => gaps, { timeout: 10_000 }).toBeGreaterThan(0))
        yield* bus.publish(["results", "c"], Buffer.from("after"))
        yield* Effect.promise(() => expect.poll(() => heard, { timeout: 10_000 }).toEqual(["before", "after"]))
      }).pipe(Effect.provide(broker(proxy.port)))
    ),
  60_000
)

test("a result is told soon although the connection of the client turned silent", () =>
  run(Effect.gen(function*() {
    const finish = yield* Deferred.make<void>()
    class Work extends Task.make("Work", { success: Schema.Number, queue: "waiting" }) {}
    yield* Layer.build(
      Worker.layer({ tasks: [Work] }).pipe(
        Layer.provide(Work.toLayer(() => Effect.as(Deferred.await(finish), 7))),
        Layer.provide(broker(server.port))
      )
    )
    const waiting = yield* Effect.gen(function*() {
      const job = yield* Work.enqueue()
      return yield* Effect.forkScoped(job.await)
    }).pipe(Effect.provide(yield* Layer.build(Layer.provide(Client.layer, broker(proxy.port)))))
    // most of the time between two pings
    yield* Effect.sleep(2_000)
    proxy.freeze()
    proxy.thaw()
    const startedAt = performance.now()
    yield* Deferred.succeed(finish, undefined)
    expect(yield* Fiber.join(waiting)).toBe(7)
    // noticed after 5 to 7.5 s, here after the shorter one, back within 0.3 s, and read at once
    expect(performance.now() - startedAt).toBeLessThan(10_000)
  })), 60_000)
