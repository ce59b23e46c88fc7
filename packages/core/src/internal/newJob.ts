/**
 * Makes a job of a payload and options, for a task.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type * as SchemaIssue from "effect/SchemaIssue"
import * as Codec from "../Codec.ts"
import { EnqueueError, InvalidPayload } from "../EnqueueError.ts"
import type { EnqueueOptions, NewJob } from "../EnqueueOptions.ts"
import type { TracePolicy } from "../Telemetry.ts"
import { sha256 } from "./hmac.ts"

/** The part of a task that its jobs come from. */
export interface Source {
  readonly _tag: string
  readonly queue: string
  readonly payloadSchema: Schema.Top
  readonly policy: {
    readonly priority: string | undefined
    readonly expiresIn: number | undefined
    readonly trace: TracePolicy | undefined
  }
  /** Of the payload's schema, see `isPlain`; false where its value makes a key. */
  readonly isPlain: boolean
  readonly keyOf: ((payload: unknown) => string) | undefined
  readonly idempotencyKeyOf: ((payload: unknown) => string) | undefined
}

const idOf = (tag: string, idempotencyKey: string) => sha256(`${tag.length}:${tag}${idempotencyKey}`)

const schemaError = (issue: SchemaIssue.Issue) => new Schema.SchemaError(issue)

/** Most schemas answer at once. */
export const known = <A, E>(effect: Effect.Effect<A, E>): A | undefined =>
  // a success is one of this effect's
  Exit.isExit(effect) && Exit.isSuccess(effect) ? effect.value as A : undefined

/** Spelled out: a spread of the options would cost more than the rest of the object. */
const jobOf = (
  self: Source,
  payload: unknown,
  body: Uint8Array,
  options: EnqueueOptions | undefined,
  codec: Codec.Codec
): NewJob & Record<keyof EnqueueOptions, unknown> => ({
  task: self._tag,
  queue: self.queue,
  body,
  contentType: codec.contentType,
  id: options?.id ?? (self.idempotencyKeyOf && idOf(self._tag, self.idempotencyKeyOf(payload))),
  delay: options?.delay,
  at: options?.at,
  priority: options?.priority ?? self.policy.priority,
  headers: options?.headers,
  key: options?.key ?? self.keyOf?.(payload),
  expiresIn: options?.expiresIn ?? self.policy.expiresIn,
  trace: options?.trace ?? self.policy.trace
})

/**
 * A job of a task, ready to be sent. The services that a schema of type `Schema.Top` hides are those of the task:
 * `enqueue` and `toLayer` require them.
 * Eager: most schemas answer at once, and then so does this.
 */
export const make = (
  self: Source,
  payload: unknown,
  options: EnqueueOptions | undefined,
  codec: Codec.Codec
): Effect.Effect<NewJob, EnqueueError> => {
  const compiled = Codec.compiled(codec, self.payloadSchema)
  if (self.isPlain && codec === Codec.json) {
    const body = known(compiled.encode(payload) as Effect.Effect<Uint8Array, Schema.SchemaError>)
    // what does not fit is described below
    if (body !== undefined) return Exit.succeed(jobOf(self, payload, body, options, codec))
  }
  const made = Effect.mapErrorEager(self.payloadSchema.makeEffect(payload as never), schemaError)
  const job = Effect.flatMapEager(made, (value) =>
    Effect.mapEager(
      compiled.encode(value) as Effect.Effect<Uint8Array, Schema.SchemaError>,
      (body) => jobOf(self, value, body, options, codec)
    ))
  return Effect.mapErrorEager(
    job,
    ({ message }) =>
      new EnqueueError({ task: self._tag, queue: self.queue, reason: new InvalidPayload({ description: message }) })
  )
}
