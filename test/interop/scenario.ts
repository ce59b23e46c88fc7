/**
 * One scenario over any transport: a producer, a worker, and somebody who waits
 * for the results. Their answers are the same everywhere.
 */
import * as Client from "@troupe/core/Client"
import * as Job from "@troupe/core/Job"
import * as Signing from "@troupe/core/Signing"
import type { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { inspect } from "node:util"
import * as Tasks from "./tasks.ts"

/** For ids, keys and names; a payload may hold half a surrogate pair as well. */
const awkward = "||| \n\t\0 {}% \u{1F3AD}"
const half = `${awkward} \ud800`

const parcel = (text: string): typeof Tasks.Parcel.Type => ({
  text,
  bytes: Uint8Array.of(0, 10, 255),
  at: new Date(86_400_000),
  count: 2n ** 70n,
  tags: new Map([[text, 1], ["", -0.5]])
})

/** Jobs whose ids are known beforehand, by the name of what they show. */
const ids = {
  echo: "echo",
  large: "large",
  awkward: `id ${awkward}`,
  retried: "retried",
  outOfStock: "out of stock",
  later: "later",
  endless: "endless",
  broken: "broken",
  expiring: "expiring",
  byName: "by name"
}

/** Enqueues everything; answers the ids that were generated, and what was a duplicate. */
export const produce = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* Tasks.Echo.enqueue(parcel("hello"), { id: ids.echo })
  yield* Tasks.Echo.enqueue(parcel("x".repeat(400_000)), { id: ids.large })
  yield* Tasks.Echo.enqueue(parcel(half), { id: ids.awkward })
  const headers = { "x-trace": "abc", [awkward]: awkward }
  yield* Tasks.Order.enqueue({ article: "tea", failures: 2 }, { id: ids.retried, headers })
  yield* Tasks.Order.enqueue({ article: "gold", failures: 3 }, { id: ids.outOfStock })
  yield* Tasks.Later.enqueue({ ms: 700 }, { id: ids.later, delay: 700 })
  yield* Tasks.Endless.enqueue(undefined, { id: ids.endless })
  yield* Tasks.Broken.enqueue(undefined, { id: ids.broken })
  yield* Tasks.Expiring.enqueue(undefined, { id: ids.expiring })
  yield* client.enqueueByName("Order", { article: "milk", failures: 0 }, { id: ids.byName, queue: Tasks.Order.queue })
  const again = yield* Tasks.Echo.enqueue(parcel("another"), { id: ids.echo })
  const items = ["a", "b", "c", "d"].flatMap((item) => [{ list: "one", item }, { list: `two ${awkward}`, item }])
  const appended = yield* Tasks.Append.enqueueMany(items.map((payload) => ({ payload })))
  const generated = yield* Effect.forEach(appended, Effect.fromResult)
  return { duplicate: again.duplicate, appended: generated.map((job) => job.id) }
})

export type Produced = Effect.Success<typeof produce>

const HandlersLive = Layer.mergeAll(
  Tasks.Echo.toLayer((payload) => Effect.succeed(payload)),
  Tasks.Order.toLayer(({ article, failures }, { attempt, headers }) =>
    attempt > failures
      ? Effect.succeed({ attempt, headers })
      : Effect.fail(new Tasks.OutOfStock({ article, until: new Date(attempt) }))
  ),
  Tasks.Append.toLayer(Effect.sync(() => {
    const lists = new Map<string, Array<string>>()
    return Effect.fnUntraced(function*({ item, list }: { readonly list: string; readonly item: string }) {
      const before = lists.get(list) ?? []
      yield* Effect.sleep(10)
      // whoever ran beside this one is overwritten
      lists.set(list, [...before, item])
      return lists.get(list)!
    })
  })),
  Tasks.Later.toLayer(({ ms }, { enqueuedAt }) => Effect.map(Clock.currentTimeMillis, (now) => now >= enqueuedAt + ms)),
  Tasks.Endless.toLayer((_, { progress }) =>
    Effect.forever(Effect.andThen(progress({ still: "here" }), Effect.sleep(50)))
  ),
  Tasks.Broken.toLayer(() => Effect.die(new Error("broken on purpose"))),
  Tasks.Expiring.toLayer(() => Effect.void)
)

export const WorkerLive = Worker.layer({ tasks: Tasks.all, concurrency: 4 }).pipe(
  Layer.provide(HandlersLive)
)

const show = (value: unknown): string =>
  inspect(value, { depth: null, breakLength: Infinity, maxStringLength: null, maxArrayLength: null })

/** How it ended, as text that can be compared. */
const showEnd = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return show(exit.value)
  const error = Cause.squash(exit.cause)
  // without the stack
  return error instanceof Error ? `${error.name}: ${error.message} ${show({ ...error })}` : show(error)
}

/** Waits for the end of every job, cancels the endless one, and tells how each ended. */
export const collect = ({ appended, duplicate }: Produced) =>
  Effect.gen(function*() {
    const end = <Success extends Schema.Top, Error extends Schema.Top>(
      task: Job.Definition<Success, Error>,
      id: string
    ) => Effect.map(Effect.exit(Effect.flatMap(Job.fromId(task, id), (job) => job.await)), showEnd)
    const cancelled = Effect.gen(function*() {
      const job = yield* Job.fromId(Tasks.Endless, ids.endless)
      // a second waiter finds it over
      const first = yield* Stream.runHead(job.progress)
      const answer = yield* job.cancel
      return `${answer} ${first._tag === "Some" ? JSON.stringify(first.value) : ""}`
    })
    const answers = yield* Effect.all({
      echo: end(Tasks.Echo, ids.echo),
      large: end(Tasks.Echo, ids.large),
      awkward: end(Tasks.Echo, ids.awkward),
      retried: end(Tasks.Order, ids.retried),
      outOfStock: end(Tasks.Order, ids.outOfStock),
      byName: end(Tasks.Order, ids.byName),
      later: end(Tasks.Later, ids.later),
      broken: end(Tasks.Broken, ids.broken),
      expiring: end(Tasks.Expiring, ids.expiring),
      cancelled,
      appended: Effect.forEach(appended, (id) => end(Tasks.Append, id), { concurrency: "unbounded" })
    }, { concurrency: "unbounded" })
    return { ...answers, endless: yield* end(Tasks.Endless, ids.endless), duplicate }
  })

export type Answers = Effect.Success<ReturnType<typeof collect>>

/** A client and signatures over the transport: keys come from the environment. */
export const clientLive = <E>(transport: Layer.Layer<Transport, E>) =>
  Client.layer.pipe(Layer.provideMerge(transport), Layer.provideMerge(Signing.layerConfig))
