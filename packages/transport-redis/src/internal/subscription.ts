/**
 * Opens and closes subscriptions, and keeps them alive.
 */
import { checkSettlement, type Delivery, type SubscribeOptions, type Subscription } from "@troupe/core/JobLog"
import type { TransportError } from "@troupe/core/TransportError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import type { Redis } from "ioredis"
import { Consumer } from "./consumer.ts"
import type { Pull } from "./desk.ts"
import * as Errors from "./errors.ts"
import { HandOut } from "./handOut.ts"
import type { Hub } from "./hub.ts"
import * as Keys from "./keys.ts"
import type { Arg, Link } from "./link.ts"
import * as Register from "./register.ts"
import type { Script } from "./script.ts"
import { unblock } from "./unblock.ts"

/** What a subscription needs of the transport. */
export interface Parts {
  readonly link: Link
  readonly hub: Hub
  readonly keys: Keys.Keys
  readonly isCluster: boolean
  readonly maxMessageBytes: number
  /** A connection of its own, on the node of the queue. */
  readonly openBlocking: (base: string) => Effect.Effect<Redis, TransportError, Scope>
}

/** ms between two ticks at most. */
const slowestTick = 500

/** Ids per heartbeat command. */
const maxExtend = 1_000

export const subscribe = Effect.fnUntraced(function*(
  parts: Parts,
  options: SubscribeOptions
): Effect.fn.Return<Subscription, TransportError, Scope> {
  const { hub, isCluster, keys } = parts
  const { lease, queue } = options
  const base = keys.queue(queue)
  const link = parts.link.at(base)
  const call = <A>(operation: string, script: Script, args: ReadonlyArray<Arg>, decode: (reply: unknown) => A) =>
    link.call({
      operation: `${operation} on queue "${queue}"`,
      queue,
      command: "evalsha",
      script,
      args: ["1", base, ...args],
      repeatable: true
    }, decode)
  const enter = call(
    "subscribe",
    Register.enter,
    [options.consumer, String(Math.ceil(lease)), "1", ...options.priorities],
    () => undefined
  )
  yield* enter
  yield* Effect.addFinalizer(() =>
    // without it the consumer counts as alive for one lease more
    Effect.ignore(call("unsubscribe", Register.leave, [options.consumer], () => undefined))
  )
  const blocking = yield* parts.openBlocking(base)
  const consumer = yield* Effect.acquireRelease(
    Effect.sync(() => new Consumer({ link, blocking, keys, isCluster, subscribe: options })),
    (consumer) =>
      Effect.callback<void>((resume) => {
        consumer.close(() => resume(Effect.void))
      })
  )
  yield* hub.listen(Keys.control(base), (message) => consumer.alarm.set(Number(message)))

  const interval = Math.max(50, Math.min(slowestTick, lease / 4))
  const tick = Effect.gen(function*() {
    consumer.sweep()
    let [stream, entry] = ["", ""]
    let again = false
    do {
      const args = [
        options.consumer,
        String(Math.ceil(lease)),
        String(Math.ceil(interval)),
        consumer.connection,
        stream,
        entry
      ]
      const [due, nextStream, nextEntry, silent] = yield* call(
        "tick",
        Register.tick,
        args,
        (reply) => reply as [number, Buffer, Buffer, ReadonlyArray<Buffer>]
      )
      consumer.alarm.set(due < 0 ? undefined : due)
      for (const connection of silent) {
        yield* Effect.callback<void>((resume) => {
          const done = () => resume(Effect.void)
          unblock({ link, base, queue, connection: String(connection), onReply: done, onError: done })
        })
      }
      stream = String(nextStream)
      entry = String(nextEntry)
      again = stream !== "" || silent.length > 0
    } while (again)
  })
  yield* Effect.forkScoped(
    Effect.forever(Effect.andThen(Effect.sleep(interval), Effect.ignore(tick))),
    { startImmediately: true }
  )

  const extend = (handOuts: ReadonlyArray<HandOut>): Effect.Effect<ReadonlySet<HandOut>, TransportError> => {
    const byStream = new Map<string, Map<string, HandOut>>()
    for (const handOut of handOuts) {
      const entries = byStream.get(handOut.stream) ?? new Map<string, HandOut>()
      byStream.set(handOut.stream, entries.set(handOut.entry, handOut))
    }
    const chunks = [...byStream].flatMap(([stream, entries]) => {
      const ids = [...entries.keys()]
      return Array.from({ length: Math.ceil(ids.length / maxExtend) }, (_, index) => ({
        stream,
        entries,
        ids: ids.slice(index * maxExtend, (index + 1) * maxExtend)
      }))
    })
    const kept = new Set<HandOut>()
    return Effect.forEach(chunks, ({ entries, ids, stream }) =>
      // an entry stays with us for as long as it is pending: nobody else ever claims one
      link.call({
        operation: `extend on queue "${queue}"`,
        queue,
        command: "xclaim",
        args: [base + stream, Keys.group, options.consumer, "0", ...ids, "JUSTID"],
        repeatable: true
      }, (reply) => {
        for (const id of reply as ReadonlyArray<Buffer>) {
          const handOut = entries.get(String(id))
          if (handOut !== undefined) kept.add(handOut)
        }
      }).pipe(
        // the stream was lost, and with it everything that we held
        Effect.catchIf((error) => isNoGroup(error), () => Effect.void)
      ), { concurrency: "unbounded", discard: true }).pipe(Effect.as(kept))
  }

  return {
    pull: (max) =>
      Effect.callback<NonEmptyReadonlyArray<Delivery>, TransportError>((resume) => {
        const pull: Pull = {
          max,
          resume: (deliveries) => resume(Effect.succeed(deliveries)),
          fail: (error) => resume(Effect.fail(error))
        }
        consumer.pull(pull)
        return Effect.callback<void>((cancelled) => consumer.cancel(pull, () => cancelled(Effect.void)))
      }),
    extend: (deliveries) =>
      Effect.suspend(() => {
        const ours = deliveries.filter((one): one is HandOut => one instanceof HandOut && consumer.held.has(one))
        if (ours.length === 0) return Effect.succeed([])
        return Effect.map(extend(ours), (kept) => {
          consumer.held.renewed(ours, kept, link.now())
          return ours.filter((one) => kept.has(one))
        })
      }),
    settle: (settlements) =>
      Effect.callback((resume) => {
        for (const settlement of settlements) {
          const mismatch = checkSettlement(settlement)
          if (mismatch !== undefined) {
            const operation = `${settlement._tag} of job "${settlement.delivery.envelope.id}"`
            return resume(Effect.fail(Errors.refused(operation, mismatch)))
          }
        }
        consumer.settle({
          settlements,
          since: link.now(),
          resume: (answers) => resume(Effect.succeed(answers)),
          fail: (error) => resume(Effect.fail(error))
        })
      })
  }
})

const isNoGroup = (error: TransportError): boolean =>
  error.reason._tag === "Refused" && error.reason.description.startsWith("NOGROUP")
