/**
 * Troupe with its defaults: results are kept for an hour.
 */
import * as Client from "@troupe/core/Client"
import * as Task from "@troupe/core/Task"
import type { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { fields, type Handler, hop, noop, payload, Success } from "../payload.ts"
import { signing } from "../scenarios/broker.ts"
import { type Client as ClientOf, stamp, type System, type Target, type WorkOptions } from "./system.ts"

const taskOf = (queue: string) => Task.make("Mail", { payload: fields, success: Success, queue })

const quiet = Layer.succeed(References.MinimumLogLevel, "Warn")

/** A connection of its own for each, as in processes of their own. */
const build = async <A>(layer: Layer.Layer<A, unknown>) => {
  const scope = Effect.runSync(Scope.make())
  const context = await Effect.runPromise(Layer.buildWithScope(layer, scope))
  return { context, close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}

/** A transport to the server of this URL. */
type TransportOf = (url: string) => Layer.Layer<Transport, unknown>

const servicesOf = (transport: TransportOf, url: string, signed: boolean) =>
  Layer.mergeAll(Layer.fresh(transport(url)), signed ? signing : Layer.empty, quiet)

const callersOf = (
  callers: number,
  jobs: number,
  one: (index: number) => Effect.Effect<unknown, unknown, Client.Client>
) => {
  let next = 0
  const caller = Effect.gen(function*() {
    while (next < jobs) yield* one(next++)
  })
  return Effect.all(Array.from({ length: callers }, () => caller), { concurrency: "unbounded", discard: true })
}

const clientWith = (transport: TransportOf, signed: boolean) => async ({ queue, url }: Target): Promise<ClientOf> => {
  const Mail = taskOf(queue)
  const { close, context } = await build(Layer.provideMerge(Client.layer, servicesOf(transport, url, signed)))
  const run = Effect.runPromiseWith(context)
  const many = (items: Parameters<typeof Mail.enqueueMany>[0]) =>
    Effect.map(Mail.enqueueMany(items), (outcomes) => {
      const failed = outcomes.find(Result.isFailure)
      if (failed !== undefined) throw failed.failure
    })
  return {
    enqueue: (jobs, callers) => run(callersOf(callers, jobs, (index) => Mail.enqueue(payload(index)))),
    bulk: (jobs) => run(many(Array.from({ length: jobs }, (_, index) => ({ payload: payload(index) })))),
    request: async (jobs, callers) => {
      const times: Array<number> = []
      const one = (index: number) =>
        Effect.suspend(() => {
          const start = performance.now()
          return Effect.map(Effect.flatMap(Mail.enqueue(payload(index)), (job) => job.await), () => {
            times.push(performance.now() - start)
          })
        })
      await run(callersOf(callers, jobs, one))
      return times
    },
    stamped: () => run(Effect.asVoid(Effect.suspend(() => Mail.enqueue({ ...payload(0), amount: stamp() })))),
    delayed: (dues) =>
      run(many(dues.map((at, index) => ({ payload: { ...payload(index), amount: at }, options: { at } })))),
    close
  }
}

const handlers = { noop, hop, stuck: () => Effect.never } satisfies Record<WorkOptions["handler"], Handler>

const workWith = (transport: TransportOf, signed: boolean) =>
async (
  { queue, url }: Target,
  { concurrency, handler: kind, onStart }: WorkOptions
) => {
  const Mail = taskOf(queue)
  const inner = handlers[kind]
  const handler: Handler = (job) => {
    onStart(job)
    return inner(job)
  }
  const layer = Worker.layer({ tasks: [Mail], concurrency }).pipe(
    Layer.provide(Mail.toLayer(handler)),
    Layer.provide(servicesOf(transport, url, signed))
  )
  const { close, context } = await build(layer)
  const worker = Context.get(context, Worker.Worker)
  return { finished: () => Effect.runSync(worker.finished), close }
}

/** `signed`: every job and every record with HMAC-SHA256. */
export const troupeOn = (transport: TransportOf, signed = false): System => ({
  client: clientWith(transport, signed),
  work: workWith(transport, signed)
})
