/**
 * The producing side: accepts jobs and follows them by id.
 *
 * A job whose `enqueue` succeeded is delivered until a record exists. Enqueuing
 * needs a `Client`, never a handler.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Codec } from "./Codec.ts"
import { EnqueueError, InvalidPayload } from "./EnqueueError.ts"
import type { EnqueueOptions, NewJob } from "./EnqueueOptions.ts"
import { Health } from "./Health.ts"
import * as ClientHealth from "./internal/clientHealth.ts"
import * as Emitter from "./internal/emitter.ts"
import * as Producer from "./internal/producer.ts"
import * as Calls from "./internal/telemetry/calls.ts"
import * as Sending from "./internal/telemetry/sending.ts"
import * as Tracking from "./internal/tracking.ts"
import * as Waiters from "./internal/waiters.ts"
import type { Enqueued } from "./JobRef.ts"
import { Levels } from "./Priority.ts"
import { Signing } from "./Signing.ts"
import { Transport } from "./Transport.ts"
import type { TransportError } from "./TransportError.ts"

/** Largest encoded payload in bytes, and largest encoded result. Default: 1 MiB. */
export const PayloadLimit = Context.Reference<number>("@troupe/core/Client/PayloadLimit", {
  defaultValue: () => 1024 * 1024
})

export { DefaultHeaders } from "./EnqueueOptions.ts"

export class Client extends Context.Service<Client, {
  /** Random; results are pushed to it. */
  readonly id: string
  readonly signing: Signing | undefined
  readonly codec: Codec
  /** One transport call. One outcome per job, in their order. */
  readonly send: (
    jobs: NonEmptyReadonlyArray<NewJob>
  ) => Effect.Effect<ReadonlyArray<Result.Result<Enqueued, EnqueueError | TransportError>>, TransportError>
  /** `caller` is the fiber that runs what this answers, at once and once: it need not be asked for then. */
  readonly sendOne: (
    job: NewJob,
    caller?: Fiber.Fiber<unknown, unknown>
  ) => Effect.Effect<Enqueued, EnqueueError | TransportError>
  /** For producers without the definition: `payload` is the JSON that the task's schema encodes to. */
  readonly enqueueByName: (
    task: string,
    payload: Schema.Json,
    options: EnqueueOptions & { readonly queue: string; readonly maxAttempts?: number | undefined }
  ) => Effect.Effect<Enqueued, EnqueueError | TransportError>
  readonly job: (queue: string, id: string) => Enqueued
}>()("@troupe/core/Client") {}

const jsonCodec = Schema.encodeUnknownEffect(Schema.fromJsonString(Schema.Json))

/** Builds a client of the transport in context. It lives as long as the scope. */
export const make = Effect.gen(function*() {
  const transport = yield* Transport
  const scope = yield* Effect.scope
  const context = yield* Effect.context<never>()
  const signing = yield* Signing
  const codec = yield* Codec
  const emitter = yield* Emitter.make
  const levels = yield* Levels
  const payloadLimit = yield* PayloadLimit
  const id = `${word(yield* Random.nextInt)}${word(yield* Random.nextInt)}`
  yield* ClientHealth.follow(transport, yield* Clock.Clock, yield* Health, id)
  const waiters = Waiters.make({
    transport,
    client: id,
    verified: (record) => signing === undefined || signing.verifyRecord(record) === undefined,
    scope,
    context
  })
  const calls = Calls.make(context, transport.name)
  const tracking = Tracking.make({ transport, signing, emitter, waiters, aroundCancel: calls.cancel })
  const producer = Sending.around(
    Producer.make({ transport, client: id, signing, emitter, levels, payloadLimit, waiters, tracking }),
    context,
    calls
  )
  const text = new TextEncoder()
  return Client.of({
    id,
    signing,
    codec,
    send: producer.send,
    sendOne: producer.sendOne,
    enqueueByName: (task, payload, options) =>
      jsonCodec(payload).pipe(
        Effect.mapError((error) =>
          new EnqueueError({
            task,
            queue: options.queue,
            reason: new InvalidPayload({ description: error.message })
          })
        ),
        Effect.flatMap((json) =>
          producer.sendOne({ ...options, task, body: text.encode(json), contentType: "application/json" })
        )
      ),
    job: (queue, id) => tracking.ref(queue, id, undefined, false)
  })
})

const word = (n: number) => Math.abs(n).toString(36)

/** A client of the transport in context. */
export const layer: Layer.Layer<Client, TransportError, Transport> = Layer.effect(Client, make)
