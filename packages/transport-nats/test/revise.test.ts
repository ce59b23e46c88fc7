/**
 * A job is rescheduled while a worker promotes it: writes are held back, so that
 * each of the two is first once.
 */
import type { Delivery, Revised } from "@troupe/core/JobLog"
import type { Transport } from "@troupe/core/Transport"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { assert, describe, it } from "vitest"
import { Kit, virtualTime } from "../../core/src/testing/conformance/kit.ts"
import { perfect } from "../../core/test/simulation/link.ts"
import { Prng } from "../../core/test/simulation/prng.ts"
import { Process, World } from "../../core/test/simulation/world.ts"
import type { Streams } from "../src/internal/streams.ts"
import { make } from "../src/internal/transport.ts"
import { Server } from "./model/server.ts"
import { Wire } from "./model/wire.ts"

/** How long each of them needs for a row, ms. */
interface Slowness {
  readonly caller: number
  readonly worker: number
}

interface Outcome {
  readonly answer: Revised | undefined
  readonly runs: ReadonlyArray<{ readonly revision: number; readonly at: number }>
}

const isRow = (subject: string) => subject.startsWith("sim.r.") && subject.includes(".j.")

const slow = (streams: Streams, milliseconds: () => number): Streams => ({
  ...streams,
  publish: (messages) => {
    const publish = streams.publish(messages)
    const wait = milliseconds()
    return wait > 0 && messages.some(({ subject }) => isRow(subject))
      ? Effect.andThen(Effect.sleep(wait), publish)
      : publish
  }
})

/** A job that is due at 500 ms is moved at 450 ms to 5,000 ms. `waits`: how it came to wait. */
const race = async (key: string | undefined, waits: "delayed" | "retried", slowness: Slowness): Promise<Outcome> => {
  const random = new Prng("revise")
  const world = new World(random.fork("order"))
  const server = new Server(world, random.fork("model"))
  let isRace = false
  const start = (
    name: string,
    wait: number,
    program: (transport: Transport["Service"]) => Effect.Effect<void, unknown, Scope.Scope>
  ) => {
    const process = new Process(world, name, random.fork(name))
    const { streams } = new Wire(process, server, perfect, random.fork(`wire ${name}`))
    const scope = Scope.makeUnsafe()
    process.fork(
      make(slow(streams, () => isRace ? wait : 0), { namespace: "sim", durability: "process", maxMessages: 1_000 })
        .pipe(
          Effect.flatMap(program),
          Effect.provideService(Scope.Scope, scope),
          Effect.tapCause((cause) => Effect.sync(() => world.trace(name, `fails: ${String(cause)}`)))
        )
    )
    return process
  }
  const runs: Array<{ readonly revision: number; readonly at: number }> = []
  let answer: Revised | undefined
  let dueAt = Infinity
  const processes = [
    start("worker", slowness.worker, ({ log }) =>
      Effect.gen(function*() {
        const lease = { queue: "a", priorities: ["default"], consumer: "w", lease: 30_000 } as const
        const { pull, settle } = yield* log.subscribe(lease)
        const step = ([first, ...others]: readonly [Delivery, ...ReadonlyArray<Delivery>]) =>
          Effect.forEach([first, ...others], (delivery) => {
            const { envelope } = delivery
            if (waits === "retried" && envelope.revision === 0) {
              dueAt = world.now + 500
              const successor = { ...envelope, revision: 1, attempt: 2, due: { _tag: "At", at: dueAt } as const }
              return settle([{ _tag: "Forward", delivery, successor }])
            }
            runs.push({ revision: envelope.revision, at: world.now - dueAt + 500 })
            return settle([{ _tag: "Drop", delivery }])
          })
        yield* Effect.forever(Effect.flatMap(pull(1), step))
      })),
    start("caller", slowness.caller, (transport) =>
      Effect.gen(function*() {
        const { log } = transport
        const envelope = new Kit(transport, virtualTime, "a").envelope({ key })
        yield* Effect.sleep(100)
        if (waits === "delayed") dueAt = world.now + 500
        const due = waits === "delayed" ? { _tag: "At", at: dueAt } as const : undefined
        yield* log.send([{ ...envelope, due }])
        while (dueAt === Infinity || world.now < dueAt - 50) yield* Effect.sleep(1)
        const [found] = yield* log.locate("a", [envelope.id])
        const { envelope: standing } = Option.getOrThrow(found!)
        isRace = true
        const successor = {
          ...standing,
          revision: standing.revision + 1,
          due: { _tag: "At", at: dueAt + 4_500 } as const
        }
        answer = (yield* log.revise("a", [{ _tag: "Reschedule", successor }]))[0]
      }))
  ]
  const end = world.now + 20_000
  await world.run(() => world.now >= end)
  for (const process of processes) process.kill()
  return { answer, runs }
}

describe("a job that is rescheduled while a worker lets it go on", () => {
  const cases = [[undefined, "delayed"], ["key", "delayed"], [undefined, "retried"], ["key", "retried"]] as const
  for (const [key, waits] of cases) {
    const first = waits === "delayed" ? 0 : 1
    const what = `${waits}, ${key === undefined ? "without a key" : "with a key"}`

    it(`is moved if the caller is first (${what})`, async () => {
      const { answer, runs } = await race(key, waits, { caller: 100, worker: 300 })
      assert.strictEqual(answer, "done")
      assert.deepStrictEqual(runs.map(({ revision }) => revision), [first + 1])
      assert.isAtLeast(runs[0]!.at, 5_000)
    })

    it(`stays if the worker is first (${what})`, async () => {
      const { answer, runs } = await race(key, waits, { caller: 1_000, worker: 10 })
      assert.strictEqual(answer, "missing", "it is over by then")
      assert.deepStrictEqual(runs.map(({ revision }) => revision), [first])
      assert.isBelow(runs[0]!.at, 1_500)
    })
  }
})
