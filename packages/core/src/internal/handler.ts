/**
 * What `Task.toLayer` puts in the context for workers: bytes in, bytes out.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import * as Codec from "../Codec.ts"
import type { Envelope } from "../Envelope.ts"
import type { Execution } from "../Execution.ts"

/** The bytes of the payload do not fit the task's schema. */
export class Undecodable {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

/** What the handler answered does not fit the task's schema. */
export class Unencodable {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

/** A handler's attempt ran into its time limit. */
export class TimedOut {
  readonly message: string
  constructor(timeout: number) {
    this.message = `the attempt took longer than its timeout of ${timeout} ms`
  }
}

/** The handler says itself how the job ends: failed, without another attempt. */
export class Ended {
  readonly reason: "Error" | "Defect" | "TimedOut" | "Discarded" | "Exhausted" | "Undecodable" | "Unencodable"
  readonly message: string
  /** The encoded error, for the reason `Error`. */
  readonly value: Uint8Array | undefined
  /** Not kept as a dead letter. */
  readonly isAnswer: boolean

  constructor(options: Pick<Ended, "reason" | "message" | "value" | "isAnswer">) {
    this.reason = options.reason
    this.message = options.message
    this.value = options.value
    this.isAnswer = options.isAnswer
  }
}

/** The run is not to happen. Its job ends as cancelled. */
export class Skipped {
  readonly reason: string
  constructor(reason: string) {
    this.reason = reason
  }
}

interface Definition {
  readonly _tag: string
  readonly payloadSchema: Schema.Top
  readonly successSchema: Schema.Top
  readonly errorSchema: Schema.Top
  readonly policy: object
}

export type AnyHandlerFn = (payload: unknown, execution: Execution) => Effect.Effect<unknown, unknown, Scope>

/** Decodes, runs, encodes the success. Fails with `Undecodable`, `Unencodable`, `Control` or a typed error. */
export type Start = (
  context: Context.Context<never>,
  body: Uint8Array,
  decodeWith: Codec.Codec,
  execution: Execution
) => Fiber.Fiber<Uint8Array, unknown>

/** How a worker writes results. */
export interface Encoding {
  readonly codec: Codec.Codec
  /** Largest result in bytes. */
  readonly limit: number
}

/** What a worker does around the runs of jobs that ask for it. */
export type Around = (
  execution: Execution,
  run: Effect.Effect<Uint8Array, unknown>,
  encodeError: (error: unknown) => Effect.Effect<Uint8Array, Unencodable>
) => Effect.Effect<Uint8Array, unknown>

export interface HandlerService {
  /** The identity of the definition that the handler was built from. */
  readonly policy: object
  /** What the handler's layer captured. A worker lays it over its own context. */
  readonly services: Context.Context<never>
  /** How a worker starts the handler, in a context that holds `services`. */
  readonly startWith: (encoding: Encoding, around: Around) => Start
  /**
   * Of handlers that keep outcomes of their own: how the job ended, if it did. If it did not, no run of it that is
   * still under way can end it any more. Asked before a job that was handed out before ends without a run.
   */
  readonly recall?: (
    envelope: Envelope,
    encoding: Encoding
  ) => Effect.Effect<Exit.Exit<Uint8Array, unknown> | undefined>
  readonly encodeError: (error: unknown, encoding: Encoding) => Effect.Effect<Uint8Array, Unencodable>
}

/** The context key of a task's handler. */
export const key = (tag: string): Context.Key<HandlerService, HandlerService> =>
  Context.Service<HandlerService, HandlerService>(`@troupe/core/Task/Handler/${tag}`)

/** A schema's transformation that throws is bad data like any other. Costs nothing where the codec answered at once. */
export const orElse = <A, E, R, F>(
  effect: Effect.Effect<A, E, R>,
  failure: (message: string) => F
): Effect.Effect<A, F, R> => {
  // a success has no error to replace, whatever its type says
  if (Exit.isExit(effect) && Exit.isSuccess(effect)) return effect as Exit.Success<A>
  return Effect.catchCause(effect, (cause) => {
    // an interruption is none: the handler was stopped while an asynchronous schema decoded
    if (Cause.hasInterrupts(cause)) return Effect.interrupt
    const error = Cause.squash(cause)
    return Effect.fail(failure(error instanceof Error ? error.message : String(error)))
  })
}

const unencodable = (message: string) => new Unencodable(message)

export const encodeWith = ({ codec, limit }: Encoding, schema: Schema.Top, value: unknown) =>
  Effect.flatMapEager(
    orElse(Codec.compiled(codec, schema).encode(value), unencodable),
    (bytes) =>
      bytes.length <= limit
        ? Effect.succeed(bytes)
        : Effect.fail(unencodable(`the encoded result has ${bytes.length} bytes, the limit is ${limit} (PayloadLimit)`))
  )

export const make = (
  task: Definition,
  handler: AnyHandlerFn,
  services: Context.Context<never>
): HandlerService => {
  const undecodable = (message: string) => new Undecodable(message)
  // requirements are captured when the layer is built; the schemas' services are among them: `toLayer` requires them
  const captured = <A, E>(effect: Effect.Effect<A, E, unknown>) => effect as Effect.Effect<A, E>
  const encodeError: HandlerService["encodeError"] = (error, encoding) =>
    Effect.provideContext(captured(encodeWith(encoding, task.errorSchema, error)), services)
  return {
    policy: task.policy,
    services,
    startWith: (encoding, around) => {
      const encode = (success: unknown) => encodeWith(encoding, task.successSchema, success)
      return (context, body, decodeWith, execution) =>
        // suspended: what throws fails this job only. Eager: most schemas answer at once
        Effect.runForkWith(context)(Effect.suspend(() => {
          const decoded = orElse(Codec.compiled(decodeWith, task.payloadSchema).decode(body), undecodable)
          const handled = Effect.flatMapEager(decoded, (payload) => {
            const run = handler(payload, execution)
            // who has answered already acquires nothing
            return Exit.isExit(run) ? run : Effect.scoped(run)
          })
          return around(execution, captured(Effect.flatMapEager(handled, encode)), (error) =>
            encodeError(error, encoding))
        }))
    },
    encodeError
  }
}
