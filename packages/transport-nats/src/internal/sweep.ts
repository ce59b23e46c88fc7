/**
 * Looks after what a crash left behind, and forgets what ran out.
 *
 * One worker of a queue makes a round at a time. Nothing is removed on the word
 * of a consumer: a message at or below its acknowledgement floor is published in
 * its own place, so that it is delivered again, and its row decides.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Scope } from "effect/Scope"
import type { Context } from "./context.ts"
import * as Expiry from "./expiry.ts"
import * as Names from "./names.ts"
import * as Publications from "./publications.ts"
import * as Register from "./register.ts"
import type { Publish } from "./streams.ts"
import * as Token from "./token.ts"

/** ms between two rounds of a queue. */
const interval = 30_000

/** ms after a reconnection until the next round: the others are back, too. */
const settling = 2_000

/** Messages that one round publishes again for one consumer, and how many are read at once. */
const maxRevived = 5_000
const chunk = 256

/** ms after its end at which a bucket should be over. */
const late = 60_000

/** Keys whose tokens are looked for at once. */
const maxKeys = 500

const nothing = new Uint8Array(0)

/** Whether this worker makes the round. */
const claim = Effect.fnUntraced(function*(
  { clock, namespace, streams }: Context,
  names: Names.QueueNames,
  age: number
): Effect.fn.Return<boolean, TransportError> {
  const subject = `${Names.tablePrefix(namespace)}j.${Names.encode(names.queue)}`
  const [last] = yield* streams.last(Names.table(namespace), [subject])
  if (last !== undefined && clock.now() - last.timestamp < age) return false
  const [answer] = yield* streams.publish([{ subject, bytes: nothing, expected: last?.sequence ?? 0 }])
  return answer?._tag === "Stored"
})

/** A crash of the server brings acknowledged messages back, and never delivers them. */
const revive = Effect.fnUntraced(function*(
  { streams }: Context,
  stream: string,
  consumer: string,
  filter: string,
  hasOnePerSubject: boolean
): Effect.fn.Return<void, TransportError> {
  const info = yield* streams.consumerInfo(stream, consumer)
  if (info === undefined) return
  const messages: Array<Publish> = []
  const prefix = filter.slice(0, -1)
  for (let from = 1; messages.length < maxRevived;) {
    const first = yield* streams.next(stream, filter, from)
    if (first === undefined || first.sequence > info.ackFloor) break
    // they come in heaps
    const length = Math.min(chunk, info.ackFloor - first.sequence + 1)
    from = first.sequence + length
    for (const message of yield* streams.at(stream, Array.from({ length }, (_, index) => first.sequence + index))) {
      if (message?.subject.startsWith(prefix) !== true) continue
      const { bytes, sequence, subject } = message
      messages.push({ subject, bytes, headers: { [Publications.checkHeader]: "1" }, expected: sequence })
    }
  }
  if (messages.length === 0) return
  yield* Effect.logWarning(`NATS forgot about ${messages.length} messages of "${filter}", publishing them again`)
  const answers = yield* streams.publish(messages)
  if (hasOnePerSubject) return
  const replaced = messages.filter((_, index) => answers[index]?._tag !== "Failed")
  yield* streams.remove(stream, replaced.map(({ expected = 0 }) => expected))
})

/** A crash between the mailbox and the token, or between the token and a second look, leaves a key asleep. */
const wakeKeys = Effect.fnUntraced(function*(
  { streams }: Context,
  names: Names.QueueNames
): Effect.fn.Return<void, TransportError> {
  const info = yield* streams.streamInfo(names.mailboxes)
  if (info === undefined || info.messages === 0) return
  const subjects = (yield* streams.streamInfo(names.mailboxes, Names.mailboxes(names)))?.subjects ?? new Map()
  const keys = Array.from(subjects.keys(), Names.parseKey)
  for (let from = 0; from < keys.length; from += maxKeys) {
    const some = keys.slice(from, from + maxKeys)
    const tokens = yield* streams.last(names.work, some.map((key) => Names.token(names, key)))
    const asleep = some.filter((_, index) => tokens[index] === undefined)
    if (asleep.length > 0) yield* streams.publish(asleep.map((key) => Token.wake(names, key)))
  }
})

/** Due times that came back with the server after their bucket was over: nobody would look at them. */
const reopen = Effect.fnUntraced(function*(
  { clock, streams }: Context,
  names: Names.QueueNames
): Effect.fn.Return<void, TransportError> {
  const dues = (yield* streams.streamInfo(names.delays, Names.allDues(names)))?.subjects ?? new Map<string, number>()
  const old = Array.from(dues.keys(), Names.parseBucket)
    .filter((bucket) => (bucket + 1) * Names.bucketWidth < clock.now() - late)
  if (old.length === 0) return
  yield* streams.publish(old.map((bucket) => ({ subject: Names.index(names, bucket), bytes: nothing, expected: 0 })))
})

const round = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames
): Effect.fn.Return<void, TransportError> {
  yield* context.queues.restore(names)
  yield* Register.lower(context, names)
  for (const level of yield* context.levels.read(names)) {
    yield* revive(context, names.work, Names.jobConsumer(level), Names.jobs(names, level), true)
  }
  yield* revive(context, names.work, Names.tokenConsumer, Names.tokens(names), true)
  yield* revive(context, names.delays, Names.indexConsumer, Names.indexes(names), false)
  yield* wakeKeys(context, names)
  yield* reopen(context, names)
  yield* Expiry.rows(context, names)
  yield* Expiry.letters(context, names)
  yield* Expiry.table(context)
})

/** Rounds until the scope closes. */
export const run = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames
): Effect.fn.Return<void, never, Scope> {
  const reconnected = yield* Latch.make()
  yield* context.streams.onReconnect(() => reconnected.openUnsafe())
  const once = Effect.gen(function*() {
    const woken = yield* Effect.timeoutOption(reconnected.await, interval / 3)
    const isUrgent = woken._tag === "Some"
    if (isUrgent) {
      reconnected.closeUnsafe()
      yield* Effect.sleep(settling)
    }
    if (yield* claim(context, names, isUrgent ? settling : interval)) yield* round(context, names)
  })
  yield* Effect.forkScoped(Effect.forever(
    Effect.catchCause(once, (cause) =>
      Effect.andThen(
        Effect.logDebug(`Looking after queue "${names.queue}" failed, trying again later`, cause),
        Effect.sleep(settling)
      ))
  ))
})
