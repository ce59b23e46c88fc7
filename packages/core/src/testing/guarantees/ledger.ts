/**
 * An actor for the cases: it writes down what was added to it.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import * as Actor from "../../Actor.ts"
import type { Control, Execution } from "../../Execution.ts"
import type { Store } from "../../Store.ts"
import * as Task from "../../Task.ts"
import { Transport } from "../../Transport.ts"
import * as Worker from "../../Worker.ts"
import type { WorkerOptions } from "../../WorkerOptions.ts"
import type { Run } from "./journal.ts"
import { type Kit, lease } from "./kit.ts"

const Entries = Schema.Array(Schema.String)

/** Answers how many entries there are. Fails are tried again after 500 ms. */
const Add = (options: Partial<Task.Options<string, typeof Schema.Number, typeof Schema.String>>) =>
  Task.make("Add", {
    payload: Schema.String,
    success: Schema.Number,
    error: Schema.String,
    retry: Schedule.spaced("500 millis"),
    ...options
  })

const define = (queue: string, add: ReturnType<typeof Add>) =>
  Actor.make("Ledger", {
    queue,
    state: Entries,
    initialState: () => [],
    messages: [add, Task.make("Read", { success: Entries })]
  })

export type Ledger = ReturnType<typeof define>

/** The actor of a case, on the queue of the case. */
export const make = (kit: Kit, options: Parameters<typeof Add>[0] = {}): Ledger => define(kit.queue, Add(options))

/** What `Add` does before the entry is added. */
export type Body = (
  run: Run,
  state: Actor.ActorState<ReadonlyArray<string>>
) => Effect.Effect<void, string | Control, Scope>

export const done: Body = () => Effect.void
export const never: Body = () => Effect.never

export interface Options extends WorkerOptions, Actor.LayerOptions<string> {
  /** The store as the actor sees it. */
  readonly store?: (store: Store) => Store
  /** Acquires and releases something per key. */
  readonly perKey?: (key: string) => Effect.Effect<void, never, Scope>
}

/** Starts a worker for the actor. Its runs are in the journal of the kit, by the text that is added. */
export const work = (kit: Kit, ledger: Ledger, body: Body, options: Options = {}) =>
  kit.launch((id) => {
    const { maxActive, maxIdleTime, perKey, store, supervision, ...worker } = options
    const handlers = ledger.of({
      Add: (entry, state, execution) =>
        // the journal does not look at the deadline, which the messages of actors do not have
        kit.journal.watch(id, (run) => Effect.as(body(run, state), ""))(entry, execution as Execution).pipe(
          Effect.andThen(state.update((entries) => [...entries, entry])),
          Effect.andThen(Effect.map(state.get, (entries) => entries.length))
        ),
      Read: (_, state) => state.get
    })
    const layerOptions = { maxActive, maxIdleTime, supervision }
    const live = perKey === undefined
      ? ledger.toLayer(handlers, layerOptions)
      : ledger.toLayerPerKey((key) => Effect.as(perKey(key), handlers), layerOptions)
    const seen = store === undefined
      ? live
      : Layer.provide(
        live,
        Layer.effect(Transport, Transport.useSync((inner) => ({ ...inner, store: store(inner.store) })))
      )
    return Worker.layer({ id, tasks: ledger.tasks, idleTimeout: lease, ...worker }).pipe(Layer.provide(seen))
  })

/** A store whose first write of a state travels until the gate opens, whatever becomes of who sent it. */
export const lateWrite = (gate: Deferred.Deferred<void>) => {
  let sent = 0
  return {
    sent: () => sent > 0,
    store: (store: Store): Store => ({
      ...store,
      put: (collection, key, value, options) => {
        const put = store.put(collection, key, value, options)
        if (!collection.name.startsWith("actor/") || sent++ > 0) return put
        // its bytes are in a buffer of the sender
        const copy = store.put(collection, key, value.slice(), options)
        return Effect.flatMap(Effect.forkDetach(Effect.andThen(Deferred.await(gate), copy)), Fiber.join)
      }
    })
  }
}

/** The entries as they are stored. */
export const entries = (ledger: Ledger, key: string) =>
  Effect.map(ledger.state(key), (found) => found._tag === "None" ? [] : found.value.state)
