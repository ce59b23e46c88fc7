/** How `Task.middleware` puts middlewares around a handler. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Failure, Outcome, TaskMiddleware } from "../TaskMiddleware.ts"
import type * as Middleware from "../TaskMiddleware.ts"
import type { AnyHandlerFn } from "./handler.ts"

const isNever = (schema: Schema.Top) => schema.ast._tag === "Never"

/** The errors of a task and of a middleware. */
export const errorWith = (task: Schema.Top, middleware: Schema.Top): Schema.Top =>
  isNever(middleware) ? task : isNever(task) ? middleware : Schema.Union([task, middleware])

/** The handler with these around it, the last one outermost. `services` holds their implementations. */
export const wrap = (
  handler: AnyHandlerFn,
  middlewares: ReadonlyArray<Middleware.Any>,
  services: Context.Context<never>
): AnyHandlerFn => {
  let wrapped = handler
  for (const key of middlewares) {
    // the erased boundary of this file: what the types of `Task.toLayer` have required, and opaque results
    const middleware = Context.getUnsafe(services as Context.Context<unknown>, key) as TaskMiddleware<
      never,
      unknown,
      never
    >
    const inner = wrapped as unknown as (...args: Parameters<AnyHandlerFn>) => Effect.Effect<Outcome, Failure>
    wrapped = (payload, execution) =>
      // suspended: whom a middleware refuses has not begun, and each run of a repeated handler begins anew
      middleware(Effect.suspend(() => inner(payload, execution)), { execution, payload })
  }
  return wrapped
}
