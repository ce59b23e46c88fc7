/**
 * What stands around the handlers of tasks: it sees every attempt, may provide
 * services to it, and may refuse it. It never sees what a handler answers.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import type { Control, Execution } from "./Execution.ts"

const TypeId = "~@troupe/core/TaskMiddleware"

/** What a handler succeeded with. Opaque: a middleware passes it on. */
export interface Outcome {
  readonly _: unique symbol
}

/** What a handler failed with. Opaque: a middleware lets it through. */
export interface Failure {
  readonly _: unique symbol
}

/** One attempt, as a middleware sees it. */
export interface Attempt {
  /** Which job of which task this is, its headers, its key. */
  readonly execution: Execution
  /** The decoded payload. */
  readonly payload: unknown
}

/**
 * Wraps an attempt of a job. It counts as part of it: within the `timeout`, in
 * the attempt's span, log annotations and `Scope`. Fails with its own error, or
 * with what handlers may fail with beside their errors (`Task.Snooze`, …).
 * Interruption goes through it: a cancel, a timeout, a lost lease.
 */
export interface TaskMiddleware<Provides, Error, Requires> {
  (
    handler: Effect.Effect<Outcome, Failure, Provides>,
    attempt: Attempt
  ): Effect.Effect<Outcome, Failure | Error | Control, Requires | Scope>
}

export interface ServiceClass<Self, Name extends string, Provides, Error extends Schema.Top, Requires>
  extends Context.Service<Self, TaskMiddleware<Provides, Error["Type"], Requires>>
{
  new(_: never): Context.ServiceClass.Shape<Name, TaskMiddleware<Provides, Error["Type"], Requires>>
  readonly [TypeId]: { readonly provides: Provides; readonly requires: Requires }
  readonly error: Error
}

/** A middleware, its types erased. */
export interface Any extends Context.Key<unknown, unknown> {
  readonly [TypeId]: { readonly provides: unknown; readonly requires: unknown }
  readonly error: Schema.Top
}

// indexed access, not `infer`: a failed inference would turn a missing service into `never`
export type Provides<M extends Any> = M[typeof TypeId]["provides"]
export type Requires<M extends Any> = M[typeof TypeId]["requires"]

/** What is needed to run handlers with these requirements once these middlewares stand around them: they, too. */
export type ApplyServices<M extends Any, R> = Exclude<R | Requires<M>, Provides<M>> | M["Identifier"]

/** The error schema of a task, the middleware's included. */
export type ErrorWith<Error extends Schema.Top, M extends Any> = [M["error"]["Type"]] extends [never] ? Error
  : [Error["Type"]] extends [never] ? M["error"]
  : Schema.Union<readonly [Error, M["error"]]>

/**
 * Declares a middleware: a service whose implementation is a Layer like any
 * other. Attach it with `task.middleware(M)`; the handler's Layer then requires
 * it, so a missing implementation is a compile error.
 *
 * - `provides`: services that handlers may use, made anew for every attempt.
 * - `requires`: services that it uses while an attempt runs. What its Layer can
 *   hold is better captured there.
 * - `error`: what it may refuse an attempt with. Joins the errors of the task.
 *
 * ```ts
 * class Tenant extends Context.Service<Tenant, { readonly id: string }>()("app/Tenant") {}
 * class WithTenant extends TaskMiddleware.Service<WithTenant, { provides: Tenant }>()("app/WithTenant") {}
 *
 * const WithTenantLive = Layer.succeed(WithTenant, (handler, { execution }) =>
 *   Effect.provideService(handler, Tenant, { id: execution.headers["tenant"] ?? "none" }))
 * ```
 */
export const Service = <
  Self,
  Config extends { readonly provides?: unknown; readonly requires?: unknown } = {}
>() =>
<const Name extends string, Error extends Schema.Top = Schema.Never>(
  name: Name,
  options?: { readonly error?: Error | undefined }
): ServiceClass<
  Self,
  Name,
  "provides" extends keyof Config ? Config["provides"] : never,
  Error,
  "requires" extends keyof Config ? Config["requires"] : never
> => {
  const service = Context.Service<Self, never>()(name)
  // the erased boundary of this file: what a middleware provides and requires exists in types only
  return Object.assign(service, { [TypeId]: TypeId, error: options?.error ?? Schema.Never }) as never
}
