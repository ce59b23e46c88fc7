/**
 * One job from its producer through a worker and back.
 */
import * as Client from "@troupe/core/Client"
import * as Task from "@troupe/core/Task"
import * as Worker from "@troupe/core/Worker"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"

class Double extends Task.make("Double", { payload: Schema.Number, success: Schema.Number, queue: "round-trip" }) {}

/** Answers 42, or fails with what the transport says. */
export const roundTrip = (options: RedisTransport.RedisTransportOptions): Promise<number> => {
  const WorkerLive = Worker.layer({ tasks: [Double] }).pipe(
    Layer.provide(Double.toLayer((n) => Effect.succeed(2 * n)))
  )
  return Effect.runPromise(
    Effect.flatMap(Double.enqueue(21), (job) => job.awaitWithin("10 seconds")).pipe(
      Effect.provide(Layer.provideMerge(Layer.merge(Client.layer, WorkerLive), RedisTransport.layer(options))),
      Effect.provide(Layer.succeed(References.MinimumLogLevel, "None")),
      Effect.timeout("20 seconds")
    )
  )
}

/** What the transport says when it does not start. */
export const refusal = (options: RedisTransport.RedisTransportOptions): Promise<string> =>
  roundTrip(options).then((answer) => `it answered ${answer}`, (error: unknown) => String((error as Error).message))
