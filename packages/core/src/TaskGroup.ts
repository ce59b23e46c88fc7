/**
 * Tasks that belong together: one Layer implements them all, and modules merge.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import type { Control, Execution } from "./Execution.ts"
import type * as Task from "./Task.ts"
import type * as TaskMiddleware from "./TaskMiddleware.ts"

/** What a handler of this task looks like; its requirements are inferred. */
export type HandlerFrom<T extends Task.Any> = (
  payload: Task.Payload<T>,
  execution: Execution
) => Effect.Effect<Task.Success<T>, Task.Error<T> | Control, unknown>

/** One handler per tag. */
export type HandlersFrom<T extends Task.Any> = {
  readonly [Current in T as Current["_tag"]]: HandlerFrom<Current>
}

/** What the handlers require, with the middlewares of their tasks around them, each attempt's `Scope` excluded. */
export type HandlersServices<T extends Task.Any, Handlers> = {
  readonly [Tag in keyof Handlers]: TaskMiddleware.ApplyServices<
    Extract<T, { readonly _tag: Tag }>["middlewares"][number],
    Task.HandlerServices<Handlers[Tag]>
  >
}[keyof Handlers]

/** What decoding payloads and encoding results requires. */
export type CodecServices<T extends Task.Any> =
  | T["payloadSchema"]["DecodingServices"]
  | T["successSchema"]["EncodingServices"]
  | T["errorSchema"]["EncodingServices"]

export interface TaskGroup<T extends Task.Any> {
  /** For `Worker.layer({ tasks: group.tasks })`. */
  readonly tasks: NonEmptyReadonlyArray<T>
  /** Types handlers that are written apart from `toLayer`. */
  of<const Handlers extends HandlersFrom<T>>(handlers: Handlers): Handlers
  /** Implements all tasks. A missing handler is a compile error. */
  // the intersection gives the types of their parameters to handlers that `Effect.gen` returns
  toLayer<const Handlers extends HandlersFrom<T>, EX = never, RX = never>(
    build: Handlers | (Effect.Effect<Handlers, EX, RX> & Effect.Effect<HandlersFrom<T>, unknown, unknown>)
  ): Layer.Layer<
    Task.ToHandler<T>,
    EX,
    Exclude<RX, Scope> | HandlersServices<T, Handlers> | CodecServices<T>
  >
  /** Both groups' tasks. Throws `DuplicateTag` if they share a tag. */
  merge<T2 extends Task.Any>(that: TaskGroup<T2>): TaskGroup<T | T2>
}

/** Two tasks of a group share a tag. Thrown where the group is made. */
export class DuplicateTag extends Schema.TaggedError<DuplicateTag>()("DuplicateTag", {
  tag: Schema.String,
  first: Schema.String,
  second: Schema.String
}) {
  override get message() {
    return `Two tasks have the tag "${this.tag}": one of queue "${this.first}" and one of queue "${this.second}". Rename one of them.`
  }
}

type AnyHandler = (payload: unknown, execution: Execution) => Effect.Effect<unknown, unknown, never>

interface AnyTask extends Task.Any {
  toLayer(build: Effect.Effect<AnyHandler>): Layer.Layer<never>
}

const fromTasks = <T extends Task.Any>(tasks: NonEmptyReadonlyArray<T>): TaskGroup<T> => {
  const byTag = new Map<string, T>()
  for (const task of tasks) {
    const twin = byTag.get(task._tag)
    if (twin !== undefined) throw new DuplicateTag({ tag: task._tag, first: twin.queue, second: task.queue })
    byTag.set(task._tag, task)
  }
  const toLayer = (build: Record<string, AnyHandler> | Effect.Effect<Record<string, AnyHandler>>) =>
    Layer.unwrap(Effect.map(
      Effect.isEffect(build) ? build : Effect.succeed(build),
      (handlers) => {
        const [first, ...others] = tasks.map((task) =>
          (task as unknown as AnyTask).toLayer(Effect.succeed(handlers[task._tag]!))
        )
        return Layer.mergeAll(first!, ...others)
      }
    ))
  // the erased boundary of this file: handlers are keyed by tags that only the types know
  return {
    tasks,
    of: (handlers: unknown) => handlers,
    toLayer,
    merge: (that: TaskGroup<Task.Any>) => fromTasks<Task.Any>([...tasks, ...that.tasks])
  } as unknown as TaskGroup<T>
}

/** A group of these tasks. Throws `DuplicateTag` if two of them share a tag. */
export const make = <const Tasks extends NonEmptyReadonlyArray<Task.Any>>(...tasks: Tasks): TaskGroup<Tasks[number]> =>
  fromTasks(tasks)
