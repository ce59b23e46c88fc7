/** One worker whose handlers do what the payload says, and whoever watches it. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { Client } from "../../src/Client.ts"
import * as Task from "../../src/Task.ts"
import * as Worker from "../../src/Worker.ts"
import { type Env, program, run, settle } from "../fixtures/kit.ts"
import { traced, type Traces } from "../fixtures/traces.ts"

class Sold extends Schema.TaggedError<Sold>()("Sold", { item: Schema.String }) {}

/** `secret` stands for all payloads: nobody may find it in a span. */
export const secret = "s3cr3t"

export const Order = Task.make("Order", {
  payload: { what: Schema.String },
  success: Schema.String,
  error: Sold,
  queue: "shop",
  maxAttempts: 3,
  timeout: "20 seconds",
  retry: Schedule.spaced("5 seconds")
})

const Parcel = Task.make("Parcel", { payload: { what: Schema.String }, queue: "post" })

const order = Effect.fnUntraced(function*(
  { what }: { readonly what: string },
  { attempt }: Task.Execution
): Effect.fn.Return<string, Sold | Task.Control, Client> {
  switch (what) {
    case "sold":
      return yield* new Sold({ item: secret })
    case "sold once":
      return attempt === 1 ? yield* new Sold({ item: secret }) : what
    case "defect":
      return yield* Effect.die(new TypeError("no such thing"))
    case "never":
      return yield* Effect.never
    case "never once":
      return attempt === 1 ? yield* Effect.never : what
    case "discard":
      return yield* new Task.Discard({ reason: "not sold any more" })
    case "snooze":
      return yield* new Task.Snooze({ delay: Duration.minutes(1) })
    case "parcel":
      yield* Effect.orDie(Effect.withSpan(Parcel.enqueue({ what: secret }), "packing"))
      return what
    default:
      return what
  }
})

const Handlers = Layer.mergeAll(Order.toLayer(order), Parcel.toLayer(() => Effect.void))

export const worker = (options: Partial<Parameters<typeof Worker.layer>[0]> = {}) =>
  Worker.layer({ id: "w", ...options, tasks: [Order, Parcel] }).pipe(Layer.provide(Handlers))

/** A test with a broker, a client, a tracer and that worker. */
export const withWorker = <A, E>(body: (traces: Traces) => Effect.Effect<A, E, Env>) =>
  traced((traces) => program(Effect.andThen(run(worker()), body(traces))))

/** Lets time pass, second by second. */
export const pass = (seconds: number) =>
  Effect.gen(function*() {
    yield* settle
    for (let second = 0; second < seconds; second++) yield* Effect.andThen(TestClock.adjust("1 second"), settle)
  })
