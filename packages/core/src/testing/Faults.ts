/**
 * Breaks any transport on purpose, at the seam and at a moment of your choice.
 *
 * One wrapper stands for the connection of one process: wrap the same transport
 * once per process to break one and keep the others. Nothing here is random.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type { Message } from "../Bus.ts"
import type { Delivery, JobLog, Subscription } from "../JobLog.ts"
import type { Store } from "../Store.ts"
import type { Transport } from "../Transport.ts"
import { TransportError, Unavailable } from "../TransportError.ts"

/** Every operation of the seam. */
export type Operation =
  | "clock"
  | Exclude<keyof JobLog, "list">
  | "list jobs"
  | keyof Subscription
  | Exclude<keyof Store, "list">
  | "list rows"
  | "publish"
  /** `bus.subscribe`. */
  | "listen"

/** One call of an operation. */
export interface Call {
  readonly operation: Operation
  /** Who subscribes, pulls, extends or settles; `undefined` for every other operation. */
  readonly consumer: string | undefined
}

/** All (`true`), none (`false`), or those that the function picks. */
export type Which<A> = boolean | ((one: A) => boolean)

/** Each kind of fault has one setting: a new one replaces the old one. */
export interface Faults {
  /** The transport with the faults. */
  readonly transport: Transport["Service"]
  /**
   * Silences the subscriptions that this consumer has now, as `kill -9` looks
   * from the broker: pulls never answer, `extend` answers nothing, `settle`
   * answers `superseded`, and the broker hears of none of it. It cannot be
   * undone; subscriptions opened later work. The worker's own fibers go on.
   */
  readonly crash: (consumer: string) => Effect.Effect<void>
  /** These calls wait until the fault is lifted, and run then. A call that is under way already goes on. */
  readonly stall: (which: Which<Call>) => Effect.Effect<void>
  /** These calls fail with `Unavailable` and never reach the broker. */
  readonly loseRequests: (which: Which<Call>) => Effect.Effect<void>
  /** These calls run, then fail with `Unavailable`: a pull leaves its jobs leased to nobody who knows of them. */
  readonly loseReplies: (which: Which<Call>) => Effect.Effect<void>
  /** These messages of the bus do not reach the listeners of this wrapper. */
  readonly losePushes: (which: Which<Message>) => Effect.Effect<void>
  /** Every settlement is sent twice; the second answer counts. */
  readonly repeatSettlements: (repeat: boolean) => Effect.Effect<void>
  /** Lifts every fault but crashes. */
  readonly heal: Effect.Effect<void>
}

const matches = <A>(which: Which<A>, one: A): boolean => typeof which === "boolean" ? which : which(one)

const unavailable = (operation: Operation, description: string) =>
  Effect.fail(new TransportError({ reason: new Unavailable({ operation, description }) }))

/** A subscription that can fall silent. */
interface Line {
  silent: boolean
  readonly pulls: Set<Fiber.Fiber<unknown, unknown>>
}

/** Wraps a transport. Before a fault is switched on, it behaves like the one inside. */
export const make = (inner: Transport["Service"]): Faults => {
  let stalled: Which<Call> = false
  let requestsLost: Which<Call> = false
  let repliesLost: Which<Call> = false
  let pushesLost: Which<Message> = false
  let settlementsRepeated = false
  const lines = new Map<string, Set<Line>>()

  // opened when the setting changes: whoever waits looks again
  let stallChanged = Latch.makeUnsafe(false)
  const stall = (which: Which<Call>) =>
    Effect.sync(() => {
      stalled = which
      stallChanged.openUnsafe()
      stallChanged = Latch.makeUnsafe(false)
    })

  const call = <A, E, R>(
    operation: Operation,
    run: Effect.Effect<A, E, R>,
    consumer?: string
  ): Effect.Effect<A, E | TransportError, R> => {
    const self: Call = { operation, consumer }
    const attempt: Effect.Effect<A, E | TransportError, R> = Effect.suspend(() => {
      if (matches(stalled, self)) return Effect.andThen(stallChanged.await, attempt)
      if (matches(requestsLost, self)) return unavailable(operation, "its request was lost on purpose")
      // asked once the answer is there: the fault may begin while a pull waits
      return Effect.flatMap(
        run,
        (answer): Effect.Effect<A, TransportError> =>
          matches(repliesLost, self)
            ? unavailable(operation, "its reply was lost on purpose")
            : Effect.succeed(answer)
      )
    })
    return attempt
  }

  /**
   * A fiber of its own, so that a crash can end the pull at the broker while the
   * caller goes on waiting. Its observer answers in the same turn: with a turn
   * in between, an interruption could lose jobs that were handed out.
   */
  const pullOn = (line: Line, pull: Effect.Effect<NonEmptyReadonlyArray<Delivery>, TransportError>) =>
    Effect.flatMap(
      Effect.context<never>(),
      (context) =>
        Effect.callback<NonEmptyReadonlyArray<Delivery>, TransportError>((resume) => {
          if (line.silent) return
          const fiber = Effect.runForkWith(context)(pull)
          line.pulls.add(fiber)
          fiber.addObserver((exit) => {
            line.pulls.delete(fiber)
            if (!line.silent) resume(exit)
          })
          return Fiber.interrupt(fiber)
        })
    )

  const onLine = (line: Line, consumer: string, subscription: Subscription): Subscription => ({
    pull: (max) => pullOn(line, call("pull", subscription.pull(max), consumer)),
    extend: (deliveries) =>
      call(
        "extend",
        Effect.suspend(() => line.silent ? Effect.succeed([]) : subscription.extend(deliveries)),
        consumer
      ),
    settle: (settlements) =>
      call(
        "settle",
        Effect.suspend(() => {
          if (line.silent) return Effect.succeed(settlements.map(() => "superseded" as const))
          const settle = subscription.settle(settlements)
          return settlementsRepeated ? Effect.andThen(settle, settle) : settle
        }),
        consumer
      )
  })

  const openLine = (consumer: string) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const line: Line = { silent: false, pulls: new Set() }
        const ofConsumer = lines.get(consumer)
        if (ofConsumer === undefined) lines.set(consumer, new Set([line]))
        else ofConsumer.add(line)
        return line
      }),
      (line) => Effect.sync(() => lines.get(consumer)?.delete(line))
    )

  const { bus, log, store } = inner
  return {
    transport: {
      name: inner.name,
      capabilities: inner.capabilities,
      clock: call("clock", inner.clock),
      log: {
        send: (envelopes, generated) => call("send", log.send(envelopes, generated)),
        subscribe: (options) =>
          Effect.flatMap(
            call("subscribe", log.subscribe(options), options.consumer),
            (subscription) =>
              Effect.map(openLine(options.consumer), (line) => onLine(line, options.consumer, subscription))
          ),
        withdraw: (queue, records) => call("withdraw", log.withdraw(queue, records)),
        revise: (queue, revisions) => call("revise", log.revise(queue, revisions)),
        locate: (queue, ids) => call("locate", log.locate(queue, ids)),
        stats: (queue) => call("stats", log.stats(queue)),
        list: (queue, place, page) => call("list jobs", log.list(queue, place, page)),
        redrive: (queue, letters) => call("redrive", log.redrive(queue, letters))
      },
      store: {
        get: (collection, keys) => call("get", store.get(collection, keys)),
        put: (collection, key, value, options) => call("put", store.put(collection, key, value, options)),
        remove: (collection, key, options) => call("remove", store.remove(collection, key, options)),
        list: (collection, page) => call("list rows", store.list(collection, page))
      },
      bus: {
        publish: (topic, bytes) => call("publish", bus.publish(topic, bytes)),
        // at the listener: a transport publishes results by itself
        subscribe: (prefix, onMessage) =>
          call(
            "listen",
            bus.subscribe(prefix, (message) => {
              if (!matches(pushesLost, message)) onMessage(message)
            })
          )
      }
    },
    crash: (consumer) =>
      Effect.sync(() => {
        for (const line of lines.get(consumer) ?? []) {
          line.silent = true
          for (const pull of line.pulls) pull.interruptUnsafe()
        }
      }),
    stall,
    loseRequests: (which) => Effect.sync(() => void (requestsLost = which)),
    loseReplies: (which) => Effect.sync(() => void (repliesLost = which)),
    losePushes: (which) => Effect.sync(() => void (pushesLost = which)),
    repeatSettlements: (repeat) => Effect.sync(() => void (settlementsRepeated = repeat)),
    heal: Effect.suspend(() => {
      requestsLost = false
      repliesLost = false
      pushesLost = false
      settlementsRepeated = false
      return stall(false)
    })
  }
}
