/**
 * Pulls the jobs of one queue for one worker.
 */
import {
  checkSettlement,
  type Delivery,
  type Settlement,
  type SubscribeOptions,
  type Subscription
} from "@troupe/core/JobLog"
import { ShortLivedSet } from "@troupe/core/ShortLived"
import type { TransportError } from "@troupe/core/TransportError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Scope } from "effect/Scope"
import type { Context } from "./context.ts"
import * as Delays from "./delays.ts"
import { Desk, type Pull } from "./desk.ts"
import * as Errors from "./errors.ts"
import * as HandOut from "./handOut.ts"
import * as Key from "./key.ts"
import { Lane } from "./lane.ts"
import * as Letter from "./letter.ts"
import * as Names from "./names.ts"
import * as Publications from "./publications.ts"
import { Recent } from "./recent.ts"
import * as Register from "./register.ts"
import { standing } from "./rows.ts"
import { settle } from "./settle.ts"
import type { Delivered, PullEvent } from "./streams.ts"
import * as Sweep from "./sweep.ts"

/** ms that the end of a subscription waits for acknowledgements: what they were for is over in any case. */
const maxLeftover = 2_000

/** ms that jobs without a pull wait for the next one before they are handed back: a part of the lease. */
const patienceOf = (lease: number): number => Math.min(1_000, Math.max(100, lease / 10))

class Consumer {
  readonly desk = new Desk()
  private readonly context: Context
  private readonly names: Names.QueueNames
  private readonly priorities: ReadonlySet<string>
  private readonly fork: <A, E>(effect: Effect.Effect<A, E>) => void
  private lanes: ReadonlyArray<Lane> = []
  /** In which the lanes are asked, by turns: from the highest to the lowest, keys before and after the lower ones. */
  private orders: ReadonlyArray<ReadonlyArray<Lane>> = []
  private turn = 0
  /** Jobs that are looked at before they may be handed out. */
  private inspecting = 0
  private suspects: Array<Delivered> = []
  private isInspecting = false
  private unwantedTimer = false
  private readonly recent: Recent
  private readonly patience: number
  private closed = false

  constructor(options: {
    readonly context: Context
    readonly names: Names.QueueNames
    readonly priorities: ReadonlyArray<string>
    readonly recent: Recent
    readonly patience: number
    readonly fork: <A, E>(effect: Effect.Effect<A, E>) => void
  }) {
    this.context = options.context
    this.names = options.names
    this.priorities = new Set(options.priorities)
    this.recent = options.recent
    this.patience = options.patience
    this.fork = options.fork
  }

  start(lanes: ReadonlyArray<Lane>, keys: Lane): void {
    this.lanes = [...lanes, keys]
    this.orders = [[...lanes.slice(0, 1), keys, ...lanes.slice(1)], this.lanes]
  }

  pull(pull: Pull): void {
    this.desk.add(pull)
    this.serve()
  }

  cancel(pull: Pull): void {
    this.desk.remove(pull)
    if (!this.desk.isWaiting) { for (const lane of this.lanes) lane.stop() }
    this.watchUnwanted()
  }

  /** Hands out what is here, and asks for what is missing. */
  private serve(): void {
    this.desk.deliver()
    this.watchUnwanted()
    const want = this.desk.missing - this.inspecting
    if (want <= 0 || this.closed || this.lanes.some(({ isSweeping }) => isSweeping)) return
    for (const lane of this.orders[this.turn++ % this.orders.length]!) if (!lane.ask(want)) return
  }

  onEvent(lane: Lane, event: PullEvent): void {
    if (event._tag === "End") {
      lane.onEnd()
      this.serve()
      return
    }
    lane.onMessage()
    this.receive(event.message)
  }

  private receive(message: Delivered): void {
    const { context, names } = this
    if (!this.recent.isNew(message)) return
    if (Names.isToken(names, message.subject)) {
      this.inspecting++
      this.fork(Effect.ensuring(
        Effect.ignore(Effect.map(Key.onToken(context, names, message, this.priorities), (handOut) => {
          if (handOut !== undefined) this.desk.put(handOut)
          else this.recent.forget(message)
        })),
        Effect.sync(() => {
          this.inspecting--
          this.serve()
        })
      ))
      return
    }
    const mayBeOver = message.deliveries > 1 || context.incarnation.isOlder(message.timestamp) ||
      message.headers.has(Publications.checkHeader)
    // handed out with the end of the request: a pull gets all of it
    if (mayBeOver) this.inspect(message)
    else this.accept(message, undefined)
  }

  private accept(message: Delivered, row: Parameters<typeof HandOut.ofJob>[3]): void {
    const envelope = HandOut.tryDecode(message.bytes)
    if (envelope === undefined) return this.refuse(message)
    this.desk.put(HandOut.ofJob(message, envelope, this.context.nonce(), row))
  }

  /** Nobody could ever run it. */
  private refuse(message: Delivered): void {
    const what = `A message on "${message.subject}" is no job of ours (${message.bytes.length} bytes), removing it`
    this.fork(
      Effect.andThen(
        Effect.logError(what),
        Effect.ignore(this.context.streams.acknowledge([message.reply], { _tag: "Done" }))
      )
    )
  }

  private inspect(message: Delivered): void {
    this.inspecting++
    this.suspects.push(message)
    if (this.isInspecting) return
    this.isInspecting = true
    this.fork(Effect.gen({ self: this }, function*() {
      // all that came in this turn are looked at together
      yield* Effect.yieldNow
      while (this.suspects.length > 0) {
        const batch = this.suspects
        this.suspects = []
        // what could not be looked at comes back with its lease
        yield* Effect.ignore(this.look(batch))
        this.inspecting -= batch.length
        this.serve()
      }
      this.isInspecting = false
    }))
  }

  private readonly look = Effect.fnUntraced({ self: this }, function*(batch: ReadonlyArray<Delivered>) {
    const { context, names } = this
    const parsed = batch.map(({ subject }) => Names.parseJob(subject))
    const found = yield* context.rows.read(names, parsed.map(({ id }) => id))
    const passed: Array<Publications.Publication> = []
    const letters: Array<Letter.Outgoing> = []
    const over: Array<string> = []
    batch.forEach((message, index) => {
      const state = standing(found[index]!, parsed[index]!.auth)
      if (state._tag === "current") return this.accept(message, state.row)
      if (state._tag === "passed") passed.push(Publications.ofRow(state.row))
      // whoever buried it may not have come to write the letter
      if (state._tag === "over" && state.row.letter !== undefined) {
        letters.push({ id: parsed[index]!.id, letter: state.row.letter })
      }
      over.push(message.reply)
    })
    yield* context.publisher.publishAll(names, passed)
    yield* Letter.write(context, names, letters)
    yield* context.streams.finish(over)
  })

  /** Jobs that nobody pulls go back: the worker pauses, stops, or is full. */
  private watchUnwanted(): void {
    if (this.desk.isEmpty || this.unwantedTimer) return
    this.unwantedTimer = true
    this.fork(Effect.andThen(
      Effect.sleep(this.patience),
      Effect.suspend(() => {
        this.unwantedTimer = false
        return this.handBack
      })
    ))
  }

  private readonly handBack: Effect.Effect<void> = Effect.suspend(() => {
    const unwanted = this.desk.clear()
    if (unwanted.length === 0) return Effect.void
    return Effect.asVoid(this.context.streams.publish(unwanted.map(HandOut.handBack)))
  })

  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.closed = true
    for (const lane of this.lanes) lane.stop()
    return this.handBack
  })
}

/** Acknowledgements under way: the end of the scope waits for them, for a while. */
const leftovers: Effect.Effect<{ readonly add: (fiber: Fiber.Fiber<void, unknown>) => void }, never, Scope> = Effect
  .map(
    Effect.acquireRelease(
      Effect.sync(() => new ShortLivedSet<Fiber.Fiber<void, unknown>>()),
      (fibers) => Effect.timeoutOption(Fiber.awaitAll(fibers), maxLeftover)
    ),
    (fibers) => ({
      add: (fiber) => {
        fibers.add(fiber)
        fiber.addObserver(() => void fibers.delete(fiber))
      }
    })
  )

export const subscribe = Effect.fnUntraced(function*(
  context: Context,
  options: SubscribeOptions
): Effect.fn.Return<Subscription, TransportError, Scope> {
  const { streams } = context
  const names = yield* context.queues.ensure(options.queue)
  const services = yield* Effect.context<never>()
  const clock = yield* Clock.Clock
  const fork = Effect.runForkWith(services)
  const acknowledging = yield* leftovers
  const recent = new Recent(() => clock.currentTimeMillisUnsafe(), options.lease / 2)
  yield* Register.enter(context, names, options)
  const consumer = yield* Effect.acquireRelease(
    Effect.sync(() =>
      new Consumer({
        context,
        names,
        priorities: options.priorities,
        recent,
        patience: patienceOf(options.lease),
        fork: (effect) => void fork(effect)
      })
    ),
    (consumer) => consumer.close
  )
  const open = (name: string) =>
    Effect.gen(function*() {
      let lane: Lane | undefined
      const puller = yield* streams.puller(names.work, name, options.lease / 3, (event) => {
        if (lane !== undefined) consumer.onEvent(lane, event)
      })
      return lane = new Lane(puller)
    })
  const highestFirst = [...options.priorities].reverse()
  // the level of a keyed job is only known with the head of its key: keys have a lane of their own
  consumer.start(
    yield* Effect.forEach(highestFirst, (priority) => open(Names.jobConsumer(priority))),
    yield* open(Names.tokenConsumer)
  )
  yield* Delays.run(context, names)
  yield* Sweep.run(context, names)

  const ours = (delivery: Delivery): HandOut.HandOut | undefined =>
    delivery instanceof HandOut.HandOut && delivery.owner === consumer ? delivery : undefined

  const extend = Effect.fnUntraced(function*(handOuts: ReadonlyArray<HandOut.HandOut>) {
    const found = yield* context.rows.read(names, handOuts.map(({ id }) => id))
    const kept = handOuts.filter((one, index) => standing(found[index]!, one.auth)._tag === "current")
    yield* streams.acknowledge(kept.map(({ message }) => message.reply), { _tag: "Working" })
    for (const { message } of kept) recent.add(message)
    return kept
  })

  return {
    pull: (max) =>
      Effect.callback<NonEmptyReadonlyArray<Delivery>>((resume) => {
        const pull: Pull = {
          max,
          resume: (deliveries) => {
            for (const one of deliveries) one.owner = consumer
            resume(Effect.succeed(deliveries))
          }
        }
        consumer.pull(pull)
        return Effect.sync(() => consumer.cancel(pull))
      }),
    extend: (deliveries) =>
      Effect.suspend(() => {
        const live = deliveries.map(ours).filter((one) => one !== undefined && !one.isSettled)
        return live.length === 0 ? Effect.succeed([]) : extend(live as ReadonlyArray<HandOut.HandOut>)
      }),
    settle: (settlements: NonEmptyReadonlyArray<Settlement>) => {
      for (const settlement of settlements) {
        const mismatch = checkSettlement(settlement)
        if (mismatch !== undefined) {
          return Effect.fail(
            Errors.refused(`${settlement._tag} of job "${settlement.delivery.envelope.id}"`, mismatch)
          )
        }
      }
      return settle(
        context,
        names,
        settlements.map((settlement) => ({ settlement, handOut: ours(settlement.delivery) })),
        (replies) => acknowledging.add(fork(streams.finish(replies)))
      )
    }
  }
})
