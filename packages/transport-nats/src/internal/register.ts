/**
 * The workers of a queue: who is alive, and the lease that counts.
 *
 * `ackWait` belongs to the consumers that all workers share. It is raised at
 * once and lowered when nobody needs it any more.
 */
import type { SubscribeOptions } from "@troupe/core/JobLog"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import type { Context } from "./context.ts"
import * as Names from "./names.ts"
import type { Publish, Stored } from "./streams.ts"

interface Entry {
  readonly lease: number
  readonly isClosed: boolean
}

/** ms between two signs of life at most. */
const slowest = 5_000

/** A consumer is gone when it was silent for so many signs of life. */
const patience = 3

const intervalOf = (lease: number): number => Math.min(slowest, Math.max(500, lease / 2))

const prefix = (context: Context, names: Names.QueueNames): string =>
  `${Names.tablePrefix(context.namespace)}c.${Names.encode(names.queue)}.`

const decode = (stored: Stored): Entry => {
  // as `entry` wrote it
  const { c, l } = JSON.parse(Buffer.from(stored.bytes).toString()) as { readonly l: number; readonly c?: true }
  return { lease: l, isClosed: c === true }
}

const entry = (subject: string, lease: number, isClosed: boolean): Publish => ({
  subject,
  bytes: Buffer.from(JSON.stringify({ l: lease, c: isClosed ? true : undefined }))
})

/** The live consumers, and those whose last jobs may still be under lease. */
export const entries = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames
): Effect.fn.Return<ReadonlyArray<Entry>, TransportError> {
  const stream = Names.table(context.namespace)
  const filter = `${prefix(context, names)}*`
  const found: Array<Entry> = []
  let from = 1
  while (true) {
    const stored = yield* context.streams.next(stream, filter, from)
    if (stored === undefined) return found
    from = stored.sequence + 1
    const one = decode(stored)
    const silence = context.clock.now() - stored.timestamp
    if (silence <= (one.isClosed ? one.lease : patience * intervalOf(one.lease))) found.push(one)
    else yield* context.streams.purge(stream, stored.subject, stored.sequence + 1)
  }
})

const consumersOf = (names: Names.QueueNames, priorities: ReadonlyArray<string>) => [
  { name: Names.tokenConsumer, filter: Names.tokens(names) },
  ...priorities.map((priority) => ({ name: Names.jobConsumer(priority), filter: Names.jobs(names, priority) }))
]

const largest = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames
): Effect.fn.Return<number, TransportError> {
  return Math.ceil(Math.max(0, ...(yield* entries(context, names)).map(({ lease }) => lease)))
})

/** Raises leases that are shorter than ours, and creates consumers that are not there. */
const raise = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  { lease, priorities }: SubscribeOptions
): Effect.fn.Return<void, TransportError> {
  const { streams } = context
  const ensure = Effect.fnUntraced(function*({ filter, name }: { readonly filter: string; readonly name: string }) {
    const info = yield* streams.consumerInfo(names.work, name)
    if (info !== undefined && info.ackWait >= lease) return
    if (info === undefined) yield* context.queues.restore(names)
    const ackWait = info === undefined ? Math.max(lease, yield* largest(context, names)) : lease
    yield* streams.ensureConsumer({ stream: names.work, name, filter, ackWait: Math.ceil(ackWait) })
  })
  yield* Effect.forEach(consumersOf(names, priorities), ensure, { concurrency: "unbounded", discard: true })
})

/** Lowers leases that nobody alive needs. */
export const lower = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames
): Effect.fn.Return<void, TransportError> {
  const ackWait = yield* largest(context, names)
  if (ackWait === 0) return
  for (const { filter, name } of consumersOf(names, yield* context.levels.read(names))) {
    const info = yield* context.streams.consumerInfo(names.work, name)
    if (info === undefined || info.ackWait <= ackWait) continue
    yield* context.streams.ensureConsumer({ stream: names.work, name, filter, ackWait })
  }
})

/** Announces a worker until the scope closes. Its consumers are there when it returns. */
export const enter = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  options: SubscribeOptions
): Effect.fn.Return<void, TransportError, Scope> {
  const subject = `${prefix(context, names)}${Names.encode(options.consumer)}`
  const announce = (isClosed: boolean) =>
    Effect.asVoid(context.streams.publish([entry(subject, options.lease, isClosed)]))
  yield* announce(false)
  yield* Effect.addFinalizer(() => announce(true))
  yield* raise(context, names, options)
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.andThen(
        Effect.sleep(intervalOf(options.lease)),
        Effect.ignore(Effect.andThen(announce(false), raise(context, names, options)))
      )
    )
  )
})
