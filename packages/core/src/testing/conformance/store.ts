/**
 * Promises about the table: compare-and-set, revisions that only grow, time to
 * live, and the records of a queue as rows of it.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as JobRecord from "../../JobRecord.ts"
import { type Collection, records, RevisionConflict } from "../../Store.ts"
import { TransportError } from "../../TransportError.ts"
import * as Check from "../Check.ts"
import { bytes, type Case, defineHeld, type Kit } from "./kit.ts"
import { weirdTexts } from "./log.ts"

const globally = (kit: Kit): Collection => ({ name: kit.name("collection"), queue: undefined, listable: false })

const read = (kit: Kit, collection: Collection, key: string) =>
  Effect.map(
    kit.transport.store.get(collection, [key]),
    ([row]) => row === undefined ? undefined : Option.getOrUndefined(row)
  )

/** Insists that a write lost against another one. */
const loses = <A>(write: Effect.Effect<A, unknown>, what: string): Effect.Effect<void> =>
  Effect.match(write, {
    onSuccess: () => Check.fail(`${what} was accepted`),
    onFailure: (error) => Check.isTrue(error instanceof RevisionConflict, `${what} failed with ${String(error)}`)
  })

/** Insists that the transport declines. */
const declines = <A>(
  effect: Effect.Effect<A, unknown>,
  reason: "Refused" | "Unsupported",
  what: string
): Effect.Effect<void> =>
  Effect.match(effect, {
    onSuccess: () => Check.fail(`${what} was accepted`),
    onFailure: (error) => {
      const actual = error instanceof TransportError ? error.reason._tag : String(error)
      Check.equal<string>(actual, reason, `the reason why ${what} failed`)
    }
  })

export const cases: ReadonlyArray<Case> = [
  defineHeld("a row reads as it was written, and an absent one as absent", (kit) =>
    Effect.gen(function*() {
      const { store } = kit.transport
      const collection = globally(kit)
      Check.equal(yield* read(kit, collection, "a"), undefined, "a row that nobody wrote")
      const value = Uint8Array.from({ length: 256 }, (_, index) => index)
      const first = yield* store.put(collection, "a", value)
      const second = yield* store.put(collection, "empty", new Uint8Array(0))
      Check.isTrue(first > 0 && second > 0, "a revision must be greater than 0")
      const rows = yield* store.get(collection, ["empty", "missing", "a", "a"])
      Check.equal(rows.map(Option.getOrUndefined), [
        { value: new Uint8Array(0), revision: second },
        undefined,
        { value, revision: first },
        { value, revision: first }
      ], "rows in the order of their keys")
      const third = yield* store.put(collection, "a", bytes("new"))
      Check.isTrue(third > first, "the revision of a second write must be greater")
      Check.equal(yield* read(kit, collection, "a"), { value: bytes("new"), revision: third }, "the row written again")
      Check.equal(yield* store.get(collection, []), [], "rows of no keys")
    })),

  defineHeld("collections do not share keys, whatever characters names are made of", (kit) =>
    Effect.gen(function*() {
      const { store } = kit.transport
      const name = kit.name("collection")
      const collections: Array<Collection> = [
        { name, queue: undefined, listable: false },
        { name, queue: kit.queue, listable: false },
        { name, queue: `${kit.queue}:b`, listable: false },
        { name: `${name}:b`, queue: kit.queue, listable: false },
        { name: `${name}b`, queue: undefined, listable: false },
        { name: `${name}b`, queue: `c${kit.queue}`, listable: false },
        { name, queue: `bc${kit.queue}`, listable: false }
      ]
      for (const weird of weirdTexts) collections.push({ name, queue: kit.queue + weird, listable: false })
      for (const [index, collection] of collections.entries()) {
        for (const key of weirdTexts) yield* store.put(collection, key, bytes(`${index} ${key}`), { ifRevision: 0 })
      }
      for (const [index, collection] of collections.entries()) {
        const rows = yield* store.get(collection, weirdTexts)
        const values = rows.map((row) => Option.getOrUndefined(row)?.value)
        Check.equal(values, weirdTexts.map((key) => bytes(`${index} ${key}`)), `rows of collection ${index}`)
      }
    })),

  defineHeld("a conditional write succeeds on the revision it names and on no other", (kit) =>
    Effect.gen(function*() {
      const { store } = kit.transport
      const collection: Collection = { name: "conditional", queue: kit.queue, listable: false }
      yield* loses(
        store.put(collection, "a", bytes("x"), { ifRevision: 7 }),
        "a write on the revision of an absent row"
      )
      const first = yield* store.put(collection, "a", bytes("1"), { ifRevision: 0 })
      yield* loses(store.put(collection, "a", bytes("x"), { ifRevision: 0 }), "a write if absent on a row")
      const second = yield* store.put(collection, "a", bytes("2"), { ifRevision: first })
      yield* loses(store.put(collection, "a", bytes("x"), { ifRevision: first }), "a write on an old revision")
      yield* loses(store.remove(collection, "a", { ifRevision: first }), "a removal of an old revision")
      Check.equal(yield* read(kit, collection, "a"), { value: bytes("2"), revision: second }, "the row")
      yield* store.remove(collection, "a", { ifRevision: second })
      Check.equal(yield* read(kit, collection, "a"), undefined, "the removed row")
      yield* store.remove(collection, "a")
      yield* loses(store.remove(collection, "a", { ifRevision: second }), "a removal of a revision that is gone")
    })),

  defineHeld("of many conditional writers exactly one wins each round", (kit) =>
    Effect.gen(function*() {
      const { store } = kit.transport
      const collection = globally(kit)
      let revision = 0
      for (let round = 0; round < 5; round++) {
        const won = yield* Effect.all(
          Array.from({ length: 16 }, (_, writer) =>
            Effect.match(store.put(collection, "row", bytes(`writer ${writer}`), { ifRevision: revision }), {
              onSuccess: (next) => ({ writer, next }),
              onFailure: () =>
                undefined
            })),
          { concurrency: "unbounded" }
        )
        const winners = won.filter((one) =>
          one !== undefined
        )
        Check.equal(winners.length, 1, "writers that won")
        const { next, writer } = winners[0]!
        const row = { value: bytes(`writer ${writer}`), revision: next }
        Check.equal(yield* read(kit, collection, "row"), row, "the row after the race")
        revision = next
      }
    })),

  defineHeld("a revision grows also after removal and expiry", (kit) =>
    Effect.gen(function*() {
      const { store } = kit.transport
      const collection = globally(kit)
      const first = yield* store.put(collection, "a", bytes("1"))
      yield* store.remove(collection, "a")
      const second = yield* store.put(collection, "a", bytes("2"), { ifRevision: 0, timeToLive: 1000 })
      Check.isTrue(second > first, `revision ${second} after removal must be greater than ${first}`)
      yield* kit.time.elapse(1000)
      yield* kit.eventually(Effect.map(read(kit, collection, "a"), (row) => row === undefined), "expiry of a row")
      yield* kit.time.elapse(2000)
      yield* loses(store.put(collection, "a", bytes("x"), { ifRevision: second }), "a write on an expired revision")
      const third = yield* store.put(collection, "a", bytes("3"), { ifRevision: 0 })
      Check.isTrue(third > second, `revision ${third} after expiry must be greater than ${second}`)
    })),

  defineHeld("a row lives for its time at least, and a later write decides anew", (kit) =>
    Effect.gen(function*() {
      const { store } = kit.transport
      const collection = globally(kit)
      const before = yield* kit.now()
      yield* store.put(collection, "short", bytes("1"), { timeToLive: 1200 })
      yield* store.put(collection, "renewed", bytes("1"), { timeToLive: 1200 })
      yield* store.put(collection, "kept", bytes("1"), { timeToLive: 1200 })
      yield* kit.time.elapse(600)
      const keys = ["short", "renewed", "kept"]
      const halfway = yield* store.get(collection, keys)
      if ((yield* kit.now()) < before + 1200) {
        Check.equal(halfway.map(({ _tag }) => _tag), ["Some", "Some", "Some"], "rows before their time is over")
      }
      yield* store.put(collection, "renewed", bytes("2"), { timeToLive: 60_000 })
      yield* store.put(collection, "kept", bytes("2"))
      yield* kit.time.elapse(600)
      yield* kit.eventually(Effect.map(read(kit, collection, "short"), (row) => row === undefined), "expiry of a row")
      yield* kit.time.elapse(2000)
      const rows = yield* store.get(collection, keys)
      Check.equal(rows.map(({ _tag }) => _tag), ["None", "Some", "Some"], "rows after the first time to live")
    })),

  defineHeld("a listable collection is paged through; another one declines", (kit) =>
    Effect.gen(function*() {
      const { store } = kit.transport
      const collection: Collection = { name: kit.name("collection"), queue: undefined, listable: true }
      Check.equal(yield* store.list(collection, { limit: 5 }), { items: [], next: undefined }, "no rows")
      const keys = Array.from({ length: 12 }, (_, index) => `key ${index} ${weirdTexts[index]}`)
      const revisions = new Map<string, number>()
      for (const key of keys) revisions.set(key, yield* store.put(collection, key, bytes(key)))
      yield* store.put(collection, "gone", bytes("gone"), { timeToLive: 1000 })
      yield* store.put(collection, "removed", bytes("removed"))
      yield* store.remove(collection, "removed")
      yield* kit.time.elapse(1000)
      yield* kit.eventually(Effect.map(read(kit, collection, "gone"), (row) => row === undefined), "expiry of a row")
      for (const limit of [5, 12, 100]) {
        const found: Array<string> = []
        let cursor: string | undefined
        do {
          const page = yield* store.list(collection, { limit, cursor })
          for (const item of page.items) {
            found.push(item.key)
            Check.equal(item.value, bytes(item.key), "the value of a listed row")
            Check.equal(item.revision, revisions.get(item.key), "the revision of a listed row")
          }
          cursor = page.next
          Check.isTrue(found.length < 100, "the pages do not end")
        } while (cursor !== undefined)
        Check.sameMembers(found, keys, `keys listed in pages of ${limit}`)
      }
      yield* declines(
        store.list(globally(kit), { limit: 5 }),
        "Unsupported",
        "listing a collection that is not listable"
      )
    })),

  defineHeld("the records of a queue are rows that only the log writes", (kit) =>
    Effect.gen(function*() {
      const { store } = kit.transport
      const collection = records(kit.queue)
      const subscription = yield* kit.subscribe()
      const [one, two] = [kit.envelope(), kit.envelope()]
      yield* kit.send(one)
      Check.equal(yield* read(kit, collection, one.id), undefined, "the record of a job that is not over")
      yield* kit.settle(subscription, kit.ack(yield* kit.take(subscription)))
      yield* kit.log.withdraw(kit.queue, [kit.cancelled(two)])
      const rows = yield* store.get(collection, [two.id, "nobody", one.id])
      const stored = rows.map((row) => Option.isSome(row) ? JobRecord.fromBytes(row.value.value) : undefined)
      Check.equal(stored, [kit.cancelled(two), undefined, kit.record(one)], "records read through the store")
      yield* declines(store.put(collection, one.id, bytes("forged")), "Refused", "writing a record")
      yield* declines(store.remove(collection, one.id), "Refused", "removing a record")
      yield* declines(store.list(collection, { limit: 5 }), "Unsupported", "listing records")
      Check.equal(yield* kit.storedRecord(one), kit.record(one), "the record")
      Check.equal(yield* read(kit, records(kit.name("unused")), one.id), undefined, "a record of another queue")
    })),

  defineHeld("a record loses its value first and its state later", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope()
      yield* kit.send(envelope)
      const subscription = yield* kit.subscribe()
      const before = yield* kit.now()
      const times = { timeToLive: 4000, valueTimeToLive: 1000 }
      yield* kit.settle(subscription, kit.ack(yield* kit.take(subscription), times))
      const first = yield* kit.storedRecord(envelope)
      if ((yield* kit.now()) < before + 1000) Check.equal(first, kit.record(envelope, times), "the record at first")
      yield* kit.time.elapse(1000)
      const emptied = Effect.map(kit.storedRecord(envelope), (record) =>
        record === undefined || record.value.length === 0)
      yield* kit.eventually(emptied, "dropping the value of a record")
      const second = yield* kit.storedRecord(envelope)
      if ((yield* kit.now()) < before + 4000) {
        Check.equal(
          second,
          kit.record(envelope, { ...times, value: new Uint8Array(0) }),
          "the record without its value"
        )
        const cancelled = [kit.cancelled(envelope)] as const
        Check.equal((yield* kit.log.withdraw(kit.queue, cancelled))[0]?.state, "succeeded", "the state that stands")
      }
      yield* kit.time.elapse(Math.max(0, before + 4000 - (yield* kit.now())))
      yield* kit.eventually(
        Effect.map(kit.storedRecord(envelope), (record) =>
          record === undefined),
        "expiry of a record"
      )
    }))
]
