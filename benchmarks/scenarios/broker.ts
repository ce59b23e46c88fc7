/**
 * A new broker with one client and one worker, for one round.
 */
import * as Client from "@troupe/core/Client"
import * as Signing from "@troupe/core/Signing"
import * as Task from "@troupe/core/Task"
import type { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Result from "effect/Result"
import { fields, type Handler, noop, payload, Success } from "../payload.ts"
import { batch, concurrency } from "./settings.ts"

const queue = "mail"

export class Mail extends Task.make("Mail", { payload: fields, success: Success, queue }) {}

/** Leaves no result: only the state, for its shortest time, 1 minute. */
export class Note extends Task.make("Note", { payload: fields, success: Success, queue, resultTimeToLive: 0 }) {}

export interface Setup {
  readonly transport: Layer.Layer<Transport>
  /** Default: `noop`. */
  readonly handler?: Handler
  readonly signed?: boolean
}

const key = { id: "bench", secret: Redacted.make(Uint8Array.from({ length: 32 }, (_, i) => (i * 89 + 41) % 256)) }

export const signing = Signing.layerHmac({ keys: [key] })

/** Runs an effect beside a client and a worker. A broker that does not come up is a defect. */
export const withWorker = <A>(
  { handler = noop, signed = false, transport }: Setup,
  run: Effect.Effect<A, unknown, Client.Client | Worker.Worker>
): Effect.Effect<A> =>
  run.pipe(
    Effect.provide(
      Layer.mergeAll(Client.layer, Worker.layer({ tasks: [Mail, Note], concurrency })).pipe(
        Layer.provide([Mail.toLayer(handler), Note.toLayer(handler)]),
        Layer.provide(transport),
        Layer.provide(signed ? signing : Layer.empty),
        Layer.provide(Layer.succeed(References.MinimumLogLevel, "Warn"))
      )
    ),
    Effect.orDie
  )

/** `enqueueMany`, again and again, as a producer that reads its jobs from somewhere: it lets others run in between. */
export const enqueueBulks = (
  task: typeof Mail | typeof Note,
  jobs: number,
  options?: (index: number) => { readonly key?: string; readonly at?: number }
) =>
  Effect.gen(function*() {
    for (let sent = 0; sent < jobs; sent += batch) {
      const items = Array.from({ length: Math.min(batch, jobs - sent) }, (_, i) => ({
        payload: payload(sent + i),
        options: options?.(sent + i)
      }))
      const outcomes = yield* task.enqueueMany(items)
      for (const outcome of outcomes) if (Result.isFailure(outcome)) return yield* Effect.fail(outcome.failure)
      yield* Effect.yieldNow
    }
  })

/** Waits until the worker has ended this many jobs in all: their records exist. */
export const finished = (jobs: number, pause: Effect.Effect<void> = Effect.sleep(1)) =>
  Effect.gen(function*() {
    const worker = yield* Worker.Worker
    while ((yield* worker.finished) < jobs) yield* pause
  })
