/**
 * Typed definitions of work.
 *
 * A task is a value without a handler: producers import only this. The handler
 * is a Layer (`toLayer`), the worker that runs it another one. Delivery is at
 * least once: a crash between the handler's success and its record repeats the
 * job, so handlers must be idempotent.
 */
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Pipeable } from "effect/Pipeable"
import { pipeArguments } from "effect/Pipeable"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import { Client } from "./Client.ts"
import type * as Codec from "./Codec.ts"
import type { EnqueueError } from "./EnqueueError.ts"
import type { EnqueueOptions, NewJob } from "./EnqueueOptions.ts"
import type { Control, Execution } from "./Execution.ts"
import * as HandlerService from "./internal/handler.ts"
import * as Middlewares from "./internal/middleware.ts"
import * as NewJobs from "./internal/newJob.ts"
import { isPlain } from "./internal/plain.ts"
import * as Job from "./Job.ts"
import type { Enqueued } from "./JobRef.ts"
import type * as TaskMiddleware from "./TaskMiddleware.ts"
import type { TracePolicy } from "./Telemetry.ts"
import type { TransportError } from "./TransportError.ts"

export { Discard, RetryAfter, Snooze } from "./Execution.ts"
export type { Control, Execution } from "./Execution.ts"

const TypeId = "~@troupe/core/Task"

/** How the jobs of a task are treated, defaults applied. Durations are ms. */
export interface Policy {
  readonly priority: string | undefined
  readonly maxAttempts: number
  readonly retry: Schedule.Schedule<unknown, unknown>
  readonly timeout: number | undefined
  readonly expiresIn: number | undefined
  readonly resultTimeToLive: number
  readonly deadLetterTimeToLive: number
  readonly trace: TracePolicy | undefined
}

export interface Options<Payload, Success extends Schema.Top, Error extends Schema.Top> {
  /** Default: `Schema.Void`. */
  readonly success?: Success | undefined
  /** Typed errors of the handler. Default: `Schema.Never`. */
  readonly error?: Error | undefined
  /** Default: `"default"`. */
  readonly queue?: string | undefined
  /** One of `Priority.Levels`. Default: `"normal"`. */
  readonly priority?: string | undefined
  /** Attempts in all, the first one included. Default: 3. */
  readonly maxAttempts?: number | undefined
  /**
   * Delays between attempts, replayed from the attempt count: nothing of it is
   * stored. Its input is what the last attempt failed with. A schedule that
   * ends fails the job. Default: exponential from 1 s, at most 5 min, jittered.
   */
  readonly retry?: Schedule.Schedule<unknown, unknown> | undefined
  /** Time limit of one attempt. A timeout counts as a failure. Default: none. */
  readonly timeout?: Duration.Input | undefined
  /** Jobs of one key run one at a time, in the order in which they became due. */
  readonly key?: ((payload: Payload) => string) | undefined
  /** Hashed with the tag into the id: jobs of the same key are one job while it is alive. */
  readonly idempotencyKey?: ((payload: Payload) => string) | undefined
  /** No attempt starts later than this after the enqueue. Default: never expires. */
  readonly expiresIn?: Duration.Input | undefined
  /** How long the result can be read. 0 pushes it to waiters and keeps only the state. Default: 1 hour. */
  readonly resultTimeToLive?: Duration.Input | undefined
  /** How long a failed job can be replayed. Default: 14 days. */
  readonly deadLetterTimeToLive?: Duration.Input | undefined
  /** Where attempts stand in the traces. Default: `Telemetry.TracePolicy` of the client. */
  readonly trace?: TracePolicy | undefined
}

export type HandlerFn<Payload extends Schema.Top, Success extends Schema.Top, Error extends Schema.Top, R> = (
  payload: Payload["Type"],
  execution: Execution
) => Effect.Effect<Success["Type"], Error["Type"] | Control, R>

/** What a handler requires, the `Scope` of its attempt excluded. */
export type HandlerServices<Handler> = Handler extends
  (...args: infer _Args) => Effect.Effect<infer _A, infer _E, infer R> ? Exclude<R, Scope> : never

/** One job of `enqueueMany`. */
export interface Item<Payload extends Schema.Top> {
  readonly payload: Payload["~type.make.in"]
  readonly options?: EnqueueOptions | undefined
}

export interface Task<
  in out Tag extends string,
  out Payload extends Schema.Top = Schema.Void,
  out Success extends Schema.Top = Schema.Void,
  out Error extends Schema.Top = Schema.Never,
  out Middleware extends TaskMiddleware.Any = never
> extends Pipeable {
  new(_: never): {}

  readonly [TypeId]: typeof TypeId
  readonly _tag: Tag
  readonly queue: string
  readonly payloadSchema: Payload
  readonly successSchema: Success
  readonly errorSchema: Error
  readonly policy: Policy
  /** From the innermost. */
  readonly middlewares: ReadonlyArray<Middleware>

  /** Sends a job. Needs a `Client`, never a handler. */
  enqueue(payload: Payload["~type.make.in"], options?: EnqueueOptions): Effect.Effect<
    JobOf<Success, Error>,
    EnqueueError | TransportError,
    Client | Payload["EncodingServices"]
  >

  /** Sends many jobs in one transport call. One outcome per item, in their order. */
  enqueueMany(items: ReadonlyArray<Item<Payload>>): Effect.Effect<
    ReadonlyArray<Result.Result<JobOf<Success, Error>, EnqueueError | TransportError>>,
    TransportError,
    Client | Payload["EncodingServices"]
  >

  /** Implements the task. What the effect acquires lives as long as the worker, what the handler acquires as long as one attempt. */
  // the second half of the intersection gives the types of the parameters to a handler that `Effect.gen` returns
  toLayer<R = never, Fn extends HandlerFn<Payload, Success, Error, unknown> = never, EX = never, RX = never>(
    build:
      | HandlerFn<Payload, Success, Error, R>
      | (Effect.Effect<Fn, EX, RX> & Effect.Effect<HandlerFn<Payload, Success, Error, unknown>, unknown, unknown>)
  ): Layer.Layer<
    Handler<Tag>,
    EX,
    | Exclude<RX, Scope>
    | TaskMiddleware.ApplyServices<Middleware, Exclude<R, Scope> | HandlerServices<Fn>>
    | Payload["DecodingServices"]
    | Success["EncodingServices"]
    | Error["EncodingServices"]
  >

  /**
   * The same task with a middleware around its handler, and around the
   * middlewares that it has. Enqueue and serve this one: its errors are those
   * of both.
   */
  middleware<M extends TaskMiddleware.Any>(
    middleware: M
  ): Task<Tag, Payload, Success, TaskMiddleware.ErrorWith<Error, M>, Middleware | M>
}

export type JobOf<Success extends Schema.Top, Error extends Schema.Top> = Job.Job<
  Success["Type"],
  Error["Type"],
  Success["DecodingServices"] | Error["DecodingServices"]
>

/** The service that `toLayer` provides. A missing handler is a missing service, so the compiler reports it. */
export interface Handler<Tag extends string> {
  readonly _: unique symbol
  readonly tag: Tag
}

/** A task, its types erased. */
export interface Any extends Pipeable {
  readonly [TypeId]: typeof TypeId
  readonly _tag: string
  readonly queue: string
  readonly payloadSchema: Schema.Top
  readonly successSchema: Schema.Top
  readonly errorSchema: Schema.Top
  readonly policy: Policy
  readonly middlewares: ReadonlyArray<TaskMiddleware.Any>
}

// indexed access, not `infer`: a failed inference would turn a missing handler into `never`
export type ToHandler<T extends Any> = T extends Any ? Handler<T["_tag"]> : never
export type Payload<T extends Any> = T["payloadSchema"]["Type"]
export type Success<T extends Any> = T["successSchema"]["Type"]
export type Error<T extends Any> = T["errorSchema"]["Type"]

/** A definition that cannot work. Thrown where the task is defined. */
export class InvalidTask extends Schema.TaggedError<InvalidTask>()("InvalidTask", {
  task: Schema.String,
  description: Schema.String
}) {
  override get message() {
    return `Task.make("${this.task}"): ${this.description}.`
  }
}

/** Exponential from 1 s, at most 5 min, jittered by 20 %. */
export const defaultRetry: Schedule.Schedule<unknown, unknown> = Schedule.jittered(
  Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("5 minutes")])
)

const policyOf = (tag: string, options: Options<never, Schema.Top, Schema.Top>): Policy => {
  const bad = (description: string) => new InvalidTask({ task: tag, description })
  const millis = (name: string, input: Duration.Input, least: number): number => {
    const duration = Duration.fromInput(input)
    const ms = Option.isSome(duration) ? Math.ceil(Duration.toMillis(duration.value)) : Number.NaN
    if (!(ms >= least && ms <= Number.MAX_SAFE_INTEGER)) {
      throw bad(`${name} must be a finite duration of at least ${least} ms, got ${String(input)}`)
    }
    return ms
  }
  const maxAttempts = options.maxAttempts ?? 3
  if (!(Number.isInteger(maxAttempts) && maxAttempts > 0)) {
    throw bad(`maxAttempts must be a whole number of at least 1, got ${maxAttempts}`)
  }
  if (options.queue === "") throw bad("queue must not be empty")
  return {
    priority: options.priority,
    maxAttempts,
    retry: options.retry ?? defaultRetry,
    timeout: options.timeout === undefined ? undefined : millis("timeout", options.timeout, 1),
    expiresIn: options.expiresIn === undefined ? undefined : millis("expiresIn", options.expiresIn, 0),
    resultTimeToLive: millis("resultTimeToLive", options.resultTimeToLive ?? "1 hour", 0),
    deadLetterTimeToLive: millis("deadLetterTimeToLive", options.deadLetterTimeToLive ?? "14 days", 0),
    trace: options.trace
  }
}

interface Made extends Any, NewJobs.Source {
  readonly policy: Policy
}

/** Jobs of one `enqueueMany` that travel in one call. */
const maxChunk = 256

const enqueueChunk = Effect.fnUntraced(function*(self: Made, items: ReadonlyArray<Item<Schema.Top>>) {
  const client = yield* Client
  const jobs: Array<NewJob> = []
  const refused = new Map<number, EnqueueError>()
  for (let i = 0; i < items.length; i++) {
    const item = items[i]!
    const job = NewJobs.make(self, item.payload, item.options, client.codec)
    const made = NewJobs.known(job)
    if (made !== undefined) jobs.push(made)
    else {
      const result = yield* Effect.result(job)
      if (Result.isSuccess(result)) jobs.push(result.success)
      else refused.set(i, result.failure)
    }
  }
  const outcomes = Arr.isReadonlyArrayNonEmpty(jobs) ? yield* client.send(jobs) : []
  const toJob = (ref: Enqueued) => Job.fromRef(self, ref, client.signing)
  if (refused.size === 0) return outcomes.map((outcome) => Result.map(outcome, toJob))
  let next = 0
  return items.map((_, i) => {
    const error = refused.get(i)
    return error === undefined ? Result.map(outcomes[next++]!, toJob) : Result.fail(error)
  })
})

/**
 * A job of the task as `enqueue` would send it. For the parts of this package
 * that send later; they require the services that the schema hides.
 */
export const toNewJob = (
  self: Any,
  payload: unknown,
  options: EnqueueOptions,
  codec: Codec.Codec
): Effect.Effect<NewJob, EnqueueError> => NewJobs.make(self as Made, payload, options, codec)

const Proto = {
  [TypeId]: TypeId,
  pipe() {
    return pipeArguments(this, arguments)
  },
  enqueue(this: Made, payload: unknown, options?: EnqueueOptions) {
    return Client.use((client) =>
      Effect.flatMapEager(
        NewJobs.make(this, payload, options, client.codec),
        (job) => Effect.map(client.sendOne(job, Fiber.getCurrent()), (ref) => Job.fromRef(this, ref, client.signing))
      )
    )
  },
  enqueueMany(this: Made, items: ReadonlyArray<Item<Schema.Top>>) {
    if (items.length <= maxChunk) return enqueueChunk(this, items)
    // the broker takes one chunk while the next is encoded; jobs of a key must arrive in their order
    const isKeyed = this.keyOf !== undefined || items.some((item) => item.options?.key !== undefined)
    // of one size: none of them is a small batch
    const chunk = Math.ceil(items.length / Math.ceil(items.length / maxChunk))
    const chunks = Effect.forEach(
      Arr.chunksOf(items, chunk),
      (some) => Effect.result(enqueueChunk(this, some)),
      { concurrency: isKeyed ? 1 : "unbounded" }
    )
    return Effect.flatMap(chunks, (answers) =>
      answers.every(Result.isFailure)
        ? Effect.fail(answers[0]!.failure)
        : Effect.succeed(answers.flatMap((answer, index) =>
          Result.isSuccess(answer)
            ? answer.success
            : items.slice(index * chunk, (index + 1) * chunk).map(() => Result.fail(answer.failure))
        )))
  },
  toLayer(this: Made, build: HandlerService.AnyHandlerFn | Effect.Effect<HandlerService.AnyHandlerFn>) {
    return Layer.effectContext(Effect.gen({ self: this }, function*() {
      const services = yield* Effect.context<never>()
      const handler = Effect.isEffect(build) ? yield* build : build
      const wrapped = Middlewares.wrap(handler, this.middlewares, services)
      return Context.make(HandlerService.key(this._tag), HandlerService.make(this, wrapped, services))
    }))
  },
  middleware(this: Made, middleware: TaskMiddleware.Any) {
    return makeProto({
      ...this,
      _tag: this._tag,
      errorSchema: Middlewares.errorWith(this.errorSchema, middleware.error),
      middlewares: [...this.middlewares, middleware]
    })
  }
}

const makeProto = (props: Omit<Made, typeof TypeId | "pipe">) => {
  // a function, so that `class SendEmail extends Task.make(…) {}` works; its tag is `_tag`, since a class has its own `name`
  function Task() {}
  Object.setPrototypeOf(Task, Proto)
  return Object.assign(Task, props)
}

/**
 * Defines a task. Throws `InvalidTask` for options that cannot work.
 *
 * `tag` names the task on the wire: renaming it orphans jobs that are enqueued.
 */
export const make = <
  const Tag extends string,
  Payload extends Schema.Top | Schema.Struct.Fields = Schema.Void,
  Success extends Schema.Top = Schema.Void,
  Error extends Schema.Top = Schema.Never
>(
  tag: Tag,
  options: Options<NoInfer<PayloadType<Payload>>, Success, Error> & { readonly payload?: Payload | undefined } = {}
): Task<Tag, ToSchema<Payload>, Success, Error> => {
  if (tag.length === 0) throw new InvalidTask({ task: tag, description: "the tag must not be empty" })
  const payloadSchema: Schema.Top = options.payload === undefined
    ? Schema.Void
    : Schema.isSchema(options.payload)
    ? options.payload as Schema.Top
    : Schema.Struct(options.payload as Schema.Struct.Fields)
  const task = makeProto({
    _tag: tag,
    queue: options.queue ?? "default",
    payloadSchema,
    successSchema: options.success ?? Schema.Void,
    errorSchema: options.error ?? Schema.Never,
    policy: policyOf(tag, options as Options<never, Schema.Top, Schema.Top>),
    middlewares: [],
    isPlain: options.key === undefined && options.idempotencyKey === undefined && isPlain(payloadSchema.ast),
    keyOf: options.key as Made["keyOf"],
    idempotencyKeyOf: options.idempotencyKey as Made["idempotencyKeyOf"]
  })
  // the erased boundary of this file: what `Proto` does is typed by `Task`
  return task as unknown as Task<Tag, ToSchema<Payload>, Success, Error>
}

export type ToSchema<Payload extends Schema.Top | Schema.Struct.Fields> = Payload extends Schema.Struct.Fields
  ? Schema.Struct<Payload>
  : Payload extends Schema.Top ? Payload
  : never

export type PayloadType<Payload extends Schema.Top | Schema.Struct.Fields> = Payload extends Schema.Struct.Fields
  ? Schema.Struct.Type<Payload>
  : Payload extends Schema.Top ? Payload["Type"]
  : never
