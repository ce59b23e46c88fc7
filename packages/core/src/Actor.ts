/**
 * Actors: a name, a key, a mailbox, a state.
 *
 * The messages of one key run one at a time, in order, on any worker, over one
 * persisted state. A message changes the state at most once: the state is
 * written by compare-and-set together with the id and the answer of the message
 * that made it, before the message is acknowledged. A message that is delivered
 * again is answered from there, and an owner that lost its lease loses its
 * write. Handlers themselves run at least once, like those of tasks.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import * as ActorClient from "./ActorClient.ts"
import { InvalidActor, type StateUnreadable } from "./ActorError.ts"
import type { HandlersFrom, HandlersServices } from "./ActorState.ts"
import * as ActorSupervision from "./ActorSupervision.ts"
import type { Client } from "./Client.ts"
import * as Codec from "./Codec.ts"
import * as Admin from "./internal/actor/admin.ts"
import type * as Row from "./internal/actor/row.ts"
import type { Handlers as AnyHandlers, Message, Runtime } from "./internal/actor/runtime.ts"
import * as Service from "./internal/actor/service.ts"
import * as Slots from "./internal/actor/slots.ts"
import * as Vault from "./internal/actor/vault.ts"
import { type Address, separator, taskTag } from "./internal/actor/wire.ts"
import { Signing } from "./Signing.ts"
import type { Page, Paged } from "./Store.ts"
import * as Task from "./Task.ts"
import { Transport } from "./Transport.ts"
import type { TransportError } from "./TransportError.ts"

export { InvalidActor, StateUnreadable } from "./ActorError.ts"
export type { ActorState, HandlersFrom, HandlersServices, MessageExecution } from "./ActorState.ts"
export type { Directive, Failure, Supervision } from "./ActorSupervision.ts"

// a task without its schemas: with them, `Task.make` in a list of messages would infer those that it leaves out from here
type Messages = NonEmptyReadonlyArray<Omit<Task.Any, "payloadSchema" | "successSchema" | "errorSchema">>

export interface Options<State extends Schema.Top, List extends Messages> {
  readonly state: State
  /** What a key starts with. Written with the first message that changes it. */
  readonly initialState: (key: string) => State["Type"]
  /** Tasks without queue, priority and key: those are the actor's. Their other options count. */
  readonly messages: List
  /** Default: the name of the actor. */
  readonly queue?: string | undefined
  /** Of all messages. Default: `"normal"`. */
  readonly priority?: string | undefined
}

export interface LayerOptions<E> {
  /** A key that got no message for this long leaves memory; what it acquired is released. Default: 1 minute. */
  readonly maxIdleTime?: Duration.Input | undefined
  /** Keys in the memory of one worker; beyond it the one that was used least recently leaves. Default: 10,000. */
  readonly maxActive?: number | undefined
  readonly supervision?: ActorSupervision.Supervision<E> | undefined
}

/** Why and since when (ms since the epoch, broker's clock) a mailbox is held. */
export interface Stopped {
  readonly at: number
  /** The message at the head of the mailbox, and the id of its job in the actor's queue. */
  readonly message: string
  readonly id: string
  readonly reason: string
}

/** A key as it is stored. */
export interface Entry {
  readonly key: string
  /** Grows with every write. */
  readonly revision: number
  /** Messages whose answer was written. */
  readonly applied: number
  readonly stopped: Option.Option<Stopped>
}

export interface Snapshot<S> extends Entry {
  readonly state: S
}

/** A line of `list`. What this process cannot read, it lists without contents. */
export interface Listed {
  readonly key: string
  readonly revision: number
  /** As stored. */
  readonly bytes: number
  readonly contents: Option.Option<Entry>
}

/** The task that a message travels as, for `Worker.layer`. */
export type TaskOf<Name extends string, M extends Task.Any> = M extends Task.Any
  ? Task.Task<`${Name}/${M["_tag"]}`, M["payloadSchema"], M["successSchema"], M["errorSchema"]>
  : never

export type HandlerOf<Name extends string, M extends Task.Any> = M extends Task.Any
  ? Task.Handler<`${Name}/${M["_tag"]}`>
  : never

type LayerOf<Name extends string, State extends Schema.Top, M extends Task.Any, E, R> = Layer.Layer<
  HandlerOf<Name, M>,
  E,
  | Exclude<R, Scope>
  | Transport
  | State["DecodingServices"]
  | State["EncodingServices"]
  | M["payloadSchema"]["DecodingServices"]
  | M["successSchema"]["EncodingServices"]
  | M["successSchema"]["DecodingServices"]
  | M["errorSchema"]["EncodingServices"]
  | M["errorSchema"]["DecodingServices"]
>

export interface Actor<in out Name extends string, State extends Schema.Top, M extends Task.Any> {
  readonly name: Name
  readonly queue: string
  readonly stateSchema: State
  /** For `Worker.layer({ tasks: [...Account.tasks, SendEmail] })`. */
  readonly tasks: readonly [TaskOf<Name, M>, ...Array<TaskOf<Name, M>>]

  /** `account("alice").Withdraw({ amount })` asks, with `{ discard: true }` it tells. */
  readonly client: Effect.Effect<(key: string) => ActorClient.From<M>, never, Client>

  /** Types handlers that are written apart from `toLayer`. */
  of<const Handlers extends HandlersFrom<State, M>>(handlers: Handlers): Handlers

  /** Implements the actor. What the effect acquires lives as long as the worker, what a handler acquires as long as one attempt. */
  // the intersection gives the types of their parameters to handlers that `Effect.gen` returns
  toLayer<const Handlers extends HandlersFrom<State, M>, EX = never, RX = never>(
    build:
      | Handlers
      | (Effect.Effect<Handlers, EX, RX> & Effect.Effect<HandlersFrom<State, M>, unknown, unknown>),
    options?: LayerOptions<Task.Error<M>>
  ): LayerOf<Name, State, M, EX, RX | HandlersServices<Handlers>>

  /**
   * Implements the actor with handlers of each key's own. They are built when the first message of the key comes, and
   * what is acquired for them is released when the key leaves memory: after `maxIdleTime`, at a restart or stop, with
   * the worker. Two workers may hold the same key for a while.
   */
  toLayerPerKey<const Handlers extends HandlersFrom<State, M>, RX = never>(
    build: (
      key: string
    ) => Effect.Effect<Handlers, never, RX> & Effect.Effect<HandlersFrom<State, M>, never, unknown>,
    options?: LayerOptions<Task.Error<M>>
  ): LayerOf<Name, State, M, never, RX | HandlersServices<Handlers>>

  /** The stored state; none before the first message that changed it. */
  state(key: string): Effect.Effect<
    Option.Option<Snapshot<State["Type"]>>,
    StateUnreadable | TransportError,
    Transport | State["DecodingServices"]
  >
  /** One page of the keys that have a stored state, stopped ones included. */
  list(page?: Page): Effect.Effect<Paged<Listed>, TransportError, Transport>
  /**
   * Back to the initial state, whatever is stored, and on with the mailbox. Messages that wait are run. Answers false
   * if nothing is stored.
   */
  reset(key: string): Effect.Effect<boolean, TransportError, Transport>
  /** Lets a stopped mailbox go on, within 15 seconds, with the message that stopped it. Answers whether it was stopped. */
  resume(key: string): Effect.Effect<boolean, TransportError, Transport>
}

/** An actor, its types erased. */
export interface Any {
  readonly name: string
  readonly queue: string
  readonly stateSchema: Schema.Top
}

interface AnyTask extends Task.Any {
  readonly keyOf: unknown
  readonly idempotencyKeyOf: ((payload: unknown) => string) | undefined
}

const defineMessages = (address: Address, priority: string | undefined, tasks: ReadonlyArray<AnyTask>) => {
  const bad = (description: string) => new InvalidActor({ actor: address.name, description })
  if (address.name === "" || address.name.includes(separator)) {
    throw bad(`the name must be a text without "${separator}"`)
  }
  if (tasks.length === 0) throw bad("it has no messages")
  const seen = new Set<string>()
  return tasks.map((task): ActorClient.Sendable & Message => {
    const { _tag: tag, policy } = task
    if (seen.has(tag)) throw bad(`two messages have the tag "${tag}"`)
    seen.add(tag)
    if (task.queue !== "default" || policy.priority !== undefined || task.keyOf !== undefined) {
      throw bad(`message "${tag}" has a queue, priority or key of its own: those are the actor's`)
    }
    const wire = Task.make(taskTag(address, tag), {
      ...policy,
      payload: task.payloadSchema,
      success: task.successSchema,
      error: task.errorSchema,
      queue: address.queue,
      priority,
      // what times out is supervised
      timeout: undefined
    })
    return {
      tag,
      // the services of its schemas are required where they are used
      task: wire as unknown as ActorClient.Sendable["task"],
      timeout: policy.timeout,
      idempotencyKey: task.idempotencyKeyOf
    }
  })
}

const entry = (key: string, revision: number, row: Row.Row): Entry => ({
  key,
  revision,
  applied: row.applied,
  stopped: Option.fromUndefinedOr(row.stopped)
})

/**
 * Defines an actor. Throws `InvalidActor` for a definition that cannot work.
 *
 * `name` names the actor on the wire and in the store: renaming it orphans
 * messages that are sent and states that are stored.
 */
export const make = <
  const Name extends string,
  State extends Schema.Top,
  const List extends Messages
>(name: Name, options: Options<State, List>): Actor<Name, State, Extract<List[number], Task.Any>> => {
  const address: Address = { name, queue: options.queue ?? name }
  const messages = defineMessages(address, options.priority, options.messages as unknown as ReadonlyArray<AnyTask>)
  const definition = { address, stateSchema: options.state, initialState: options.initialState }

  const layer = (
    build: Effect.Effect<(key: string) => Effect.Effect<AnyHandlers, never, Scope>>,
    layerOptions: LayerOptions<never> = {}
  ) =>
    Layer.effectContext(Effect.gen(function*() {
      const services = yield* Effect.context<never>()
      const transport = yield* Transport
      const codecs = [...yield* Codec.Accepted, yield* Codec.Codec]
      const runtime: Runtime = {
        ...definition,
        transport,
        vault: Vault.make(address, yield* Signing),
        supervision: ActorSupervision.resolve(layerOptions.supervision),
        accepted: new Map(codecs.map((codec) => [codec.contentType, codec])),
        slots: yield* Slots.make({
          clock: yield* Clock.Clock,
          maxIdleTime: Duration.toMillis(Duration.fromInputUnsafe(layerOptions.maxIdleTime ?? "1 minute")),
          maxActive: layerOptions.maxActive ?? 10_000,
          build: yield* build
        })
      }
      return Service.make(runtime, messages, services)
    }))

  // the erased boundary of this file: what is done here is typed by `Actor`
  return {
    name,
    queue: address.queue,
    stateSchema: options.state,
    tasks: messages.map(({ task }) => task),
    client: ActorClient.make(address, messages),
    of: (handlers: unknown) => handlers,
    toLayer: (build: AnyHandlers | Effect.Effect<AnyHandlers>, layerOptions?: LayerOptions<never>) =>
      layer(
        Effect.map(
          Effect.isEffect(build) ? build : Effect.succeed(build),
          (handlers) => () => Effect.succeed(handlers)
        ),
        layerOptions
      ),
    toLayerPerKey: (build: (key: string) => Effect.Effect<AnyHandlers>, layerOptions?: LayerOptions<never>) =>
      layer(Effect.succeed(build), layerOptions),
    state: (key: string) =>
      Effect.map(Admin.state(definition, key), (found) =>
        found === undefined
          ? Option.none()
          : Option.some({ ...entry(key, found.revision, found.row), state: found.state })),
    list: (page: Page = { limit: 100 }) =>
      Effect.map(Admin.list(address, page), ({ items, next }) => ({
        next,
        items: items.map(({ bytes, key, revision, row }): Listed => ({
          key,
          revision,
          bytes,
          contents: row === undefined ? Option.none() : Option.some(entry(key, revision, row))
        }))
      })),
    reset: (key: string) => Admin.reset(address, key),
    resume: (key: string) => Admin.resume(address, key)
  } as unknown as Actor<Name, State, Extract<List[number], Task.Any>>
}
