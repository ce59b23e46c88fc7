/**
 * What `Task.toLayer` puts in the context for workers: bytes in, bytes out.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import * as Codec from "../Codec.ts"
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
  body: Uint8Array,
  decodeWith: Codec.Codec,
  execution: Execution
) => Fiber.Fiber<Uint8Array, unknown>

export interface HandlerService {
  /** The identity of the definition that the handler was built from. */
  readonly policy: object
  /** How a worker starts the handler: in its own context below what the handler's layer captured. */
  readonly startWith: (worker: Context.Context<never>, encodeWith: Codec.Codec) => Start
  readonly encodeError: (error: unknown, encodeWith: Codec.Codec) => Effect.Effect<Uint8Array, Unencodable>
}

/** The context key of a task's handler. */
export const key = (tag: string): Context.Key<HandlerService, HandlerService> =>
  Context.Service<HandlerService, HandlerService>(`@troupe/core/Task/Handler/${tag}`)

export const make = (
  task: Definition,
  handler: AnyHandlerFn,
  services: Context.Context<never>
): HandlerService => {
  const undecodable = (error: Schema.SchemaError) => new Undecodable(error.message)
  const unencodable = (error: Schema.SchemaError) => new Unencodable(error.message)
  // requirements are captured when the layer is built; the schemas' services are among them: `toLayer` requires them
  const captured = <A, E>(effect: Effect.Effect<A, E, unknown>) => effect as Effect.Effect<A, E>
  return {
    policy: task.policy,
    startWith: (worker, encodeWith) => {
      // merged once: a context of its own per job would cost more than the handler's fiber
      const fork = Effect.runForkWith(Context.merge(worker, services))
      const encode = (success: unknown) =>
        Effect.mapErrorEager(Codec.compiled(encodeWith, task.successSchema).encode(success), unencodable)
      return (body, decodeWith, execution) =>
        // suspended: what throws fails this job only. Eager: most schemas answer at once
        fork(Effect.suspend(() => {
          const decoded = Effect.mapErrorEager(
            Codec.compiled(decodeWith, task.payloadSchema).decode(body),
            undecodable
          )
          const handled = Effect.flatMapEager(decoded, (payload) => Effect.scoped(handler(payload, execution)))
          return captured(Effect.flatMap(handled, encode))
        }))
    },
    encodeError: (error, encodeWith) =>
      Effect.provideContext(
        captured(Effect.mapError(Codec.compiled(encodeWith, task.errorSchema).encode(error), unencodable)),
        services
      )
  }
}
