/**
 * Jobs that wait for their time, for days and without a leader.
 *
 * A due time is a small message in a bucket of the delay stream (see `Agenda`);
 * the row of the job holds the envelope. A bucket has an index message, and whoever has its
 * delivery looks after the bucket: the lease of the delivery is the lease of the
 * bucket. Buckets of later times cost the server nothing but their messages.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Scope } from "effect/Scope"
import { Bucket } from "./bucket.ts"
import type { Context } from "./context.ts"
import * as Names from "./names.ts"
import type { Delivered, Puller } from "./streams.ts"

/** ms between two looks at whether the consumer is there. */
const checkEvery = 5_000

/** ms that a bucket may be without a sign of life before another worker takes it. */
const lease = 4_000

/** ms before its start that a bucket is opened. */
const lead = 1_000

/** ms after which a later bucket is looked at again: a restarted server may forget when. */
const longest = 3_600_000

/** Index messages that wait at the server for one worker. */
const batch = 16

const pause = 1_000

class Buckets {
  private readonly context: Context
  private readonly names: Names.QueueNames
  private readonly fork: <A, E>(effect: Effect.Effect<A, E>) => void
  /** Where to say that we still have it, by bucket. */
  private readonly held = new Map<number, string>()
  private puller: Puller | undefined = undefined

  constructor(context: Context, names: Names.QueueNames, fork: <A, E>(effect: Effect.Effect<A, E>) => void) {
    this.context = context
    this.names = names
    this.fork = fork
  }

  readonly start: Effect.Effect<void, TransportError, Scope> = Effect.gen({ self: this }, function*() {
    const { context, names } = this
    const name = Names.indexConsumer
    yield* this.ensure
    this.puller = yield* context.streams.puller(names.delays, name, lease / 3, (event) => {
      if (event._tag === "Message") this.fork(this.receive(event.message))
      else this.puller?.request({ batch, wait: true })
    })
    this.puller.request({ batch, wait: true })
    yield* Effect.forkScoped(this.beating)
    yield* Effect.forkScoped(
      Effect.forever(Effect.andThen(Effect.sleep(checkEvery), Effect.ignore(this.ensure)))
    )
  })

  /** Somebody may have deleted the consumer. */
  private readonly ensure: Effect.Effect<void, TransportError> = Effect.gen({ self: this }, function*() {
    const { context: { streams }, names } = this
    const name = Names.indexConsumer
    if ((yield* streams.consumerInfo(names.delays, name)) !== undefined) return
    yield* streams.ensureConsumer({ stream: names.delays, name, filter: Names.indexes(names), ackWait: lease })
  })

  private readonly beating: Effect.Effect<never> = Effect.forever(
    Effect.andThen(
      Effect.sleep(lease / 3),
      Effect.suspend(() =>
        this.held.size === 0
          ? Effect.void
          : Effect.ignore(this.context.streams.acknowledge([...this.held.values()], { _tag: "Working" }))
      )
    )
  )

  private readonly receive = Effect.fnUntraced({ self: this }, function*(message: Delivered) {
    const { context } = this
    const number = Names.parseBucket(message.subject)
    const wait = number * Names.bucketWidth - lead - context.clock.now()
    if (wait > 0) {
      const milliseconds = Math.max(1, Math.min(wait, longest))
      return yield* Effect.ignore(context.streams.acknowledge([message.reply], { _tag: "Delay", milliseconds }))
    }
    const isNew = !this.held.has(number)
    this.held.set(number, message.reply)
    if (isNew) yield* this.lookAfter(number)
  })

  private readonly lookAfter = Effect.fnUntraced({ self: this }, function*(number: number) {
    const { context, names } = this
    const bucket = new Bucket(context, names, number, yield* Latch.make())
    yield* bucket.run.pipe(
      Effect.tapError((error) =>
        Effect.logWarning(`Delayed jobs of queue "${names.queue}" cannot be looked after, trying again`, error)
      ),
      Effect.tapError(() => Effect.sleep(pause)),
      Effect.retry({ while: () => true })
    )
    const reply = this.held.get(number)
    this.held.delete(number)
    if (reply !== undefined) yield* Effect.ignore(context.streams.acknowledge([reply], { _tag: "Done" }))
  })
}

/** Looks after the delayed jobs of a queue until the scope closes. */
export const run = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames
): Effect.fn.Return<void, TransportError, Scope> {
  const services = yield* Effect.context<never>()
  const scope = yield* Effect.scope
  const runFork = Effect.runForkWith(services)
  const fork = <A, E>(effect: Effect.Effect<A, E>) => void runFork(Effect.forkIn(effect, scope))
  yield* new Buckets(context, names, fork).start
})
