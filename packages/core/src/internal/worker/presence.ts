/**
 * The row that says a worker is alive. It also keeps two live workers from
 * having the same id.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import type { Collection } from "../../Store.ts"
import type { Transport } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"
import { IdInUse, WorkerError } from "../../WorkerError.ts"
import { encodeJson } from "../json.ts"

export const workers: Collection = { name: "workers", queue: undefined, listable: true }

/** What a worker says of itself, once per second. Times are ms since the epoch by its own clock. */
export const WorkerInfo = Schema.Struct({
  id: Schema.String,
  startedAt: Schema.Number,
  queues: Schema.Array(Schema.String),
  tasks: Schema.Array(Schema.String),
  concurrency: Schema.Number,
  running: Schema.Number,
  finished: Schema.Number
})

export type WorkerInfo = typeof WorkerInfo.Type

const fromText = Schema.decodeUnknownOption(Schema.fromJsonString(WorkerInfo))

/** Nothing if the bytes are no such row: a newer release may have written it. */
export const fromBytes = (bytes: Uint8Array): Option.Option<WorkerInfo> => fromText(new TextDecoder().decode(bytes))

/** ms between two signs of life, and how long one lasts. */
export const tick = 1_000
const timeToLive = 5_000

/**
 * Takes the row. A row that is renewed while we look belongs to a live worker;
 * one that is not ends by itself: that was a crash, wait for it.
 */
const claim = Effect.fnUntraced(function*(
  { store }: Transport["Service"],
  id: string,
  value: Uint8Array
): Effect.fn.Return<number, WorkerError | TransportError> {
  let seen: number | undefined
  while (true) {
    const taken = yield* store.put(workers, id, value, { ifRevision: 0, timeToLive }).pipe(
      Effect.map(Option.some),
      Effect.catchTag("RevisionConflict", () => Effect.succeedNone)
    )
    if (Option.isSome(taken)) return taken.value
    const [row] = yield* store.get(workers, [id])
    if (row !== undefined && Option.isSome(row)) {
      if (seen === undefined) {
        seen = row.value.revision
        yield* Effect.logInfo(`Another worker "${id}" was here within ${timeToLive} ms: looking whether it is alive`)
      }
      if (row.value.revision !== seen) return yield* new WorkerError({ reason: new IdInUse({ worker: id }) })
    }
    yield* Effect.sleep(tick / 2)
  }
})

/** Registers the worker until the scope closes. The answer renews the row and never fails. */
export const register = Effect.fnUntraced(function*(
  transport: Transport["Service"],
  info: () => WorkerInfo
): Effect.fn.Return<Effect.Effect<void>, WorkerError | TransportError, Scope> {
  const { id, startedAt } = info()
  const { store } = transport
  let revision: number = yield* Effect.acquireRelease(
    claim(transport, id, encodeJson(info())),
    (): Effect.Effect<void> => Effect.ignore(Effect.suspend(() => store.remove(workers, id, { ifRevision: revision })))
  )

  const write = (ifRevision: number) =>
    Effect.map(store.put(workers, id, encodeJson(info()), { ifRevision, timeToLive }), (next) => {
      revision = next
    })

  const isOurs = (bytes: Uint8Array): boolean => {
    const row = fromBytes(bytes)
    return Option.isSome(row) && row.value.startedAt === startedAt
  }

  /** The row is gone when we stood still for longer than it lasts, and newer than we know when an answer was lost. */
  const recover = Effect.flatMap(store.get(workers, [id]), ([row]) => {
    if (row === undefined || Option.isNone(row)) return write(0)
    return isOurs(row.value.value) ? write(row.value.revision) : takenOver
  })

  const takenOver = Effect.logError(`Another worker took the id "${id}" while this one stood still: give each its own`)

  return Effect.suspend(() => write(revision)).pipe(
    Effect.catchTag("RevisionConflict", () => recover),
    Effect.catchTag("RevisionConflict", () => takenOver),
    Effect.catch((error) => Effect.logWarning("The broker did not take the worker's sign of life", error))
  )
})
