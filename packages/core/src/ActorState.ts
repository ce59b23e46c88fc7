/**
 * What a handler of an actor is given, and what its handlers look like.
 */
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import type { Control, Execution } from "./Execution.ts"
import type * as Task from "./Task.ts"

/**
 * The state as one message sees it. What is set is written, with the answer of
 * the message, when its handler succeeds; a handler that fails has changed
 * nothing. Treat values as immutable: what `get` answers may be kept in memory.
 */
export interface ActorState<S> {
  readonly key: string
  readonly get: Effect.Effect<S>
  readonly set: (state: S) => Effect.Effect<void>
  readonly update: (f: (state: S) => S) => Effect.Effect<void>
}

/** What a handler knows of the run it is part of. */
export type MessageExecution = Omit<Execution, "deadline">

/** One handler per message. */
export type HandlersFrom<State extends Schema.Top, Messages extends Task.Any> = {
  readonly [M in Messages as M["_tag"]]: (
    payload: Task.Payload<M>,
    state: ActorState<State["Type"]>,
    execution: MessageExecution
  ) => Effect.Effect<Task.Success<M>, Task.Error<M> | Control, unknown>
}

/** What the handlers require, each attempt's `Scope` excluded. */
export type HandlersServices<Handlers> = {
  readonly [K in keyof Handlers]: Handlers[K] extends
    (...args: infer _Args) => Effect.Effect<infer _A, infer _E, infer R> ? Exclude<R, Scope> : never
}[keyof Handlers]
