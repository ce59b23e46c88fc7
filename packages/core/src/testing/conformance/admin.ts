/**
 * Promises to whoever looks after a queue: withdrawing, locating, counting,
 * listing and replaying.
 */
import * as Effect from "effect/Effect"
import type { Envelope } from "../../Envelope.ts"
import type { LocatedJob, Place } from "../../JobLog.ts"
import * as Check from "../Check.ts"
import { after, bytes, type Case, defineHeld, type Kit } from "./kit.ts"

/** All pages of one place. */
const listAll = (kit: Kit, place: Place, limit: number) =>
  Effect.gen(function*() {
    const jobs: Array<LocatedJob> = []
    let cursor: string | undefined
    do {
      const page = yield* kit.log.list(kit.queue, place, { limit, cursor })
      jobs.push(...page.items)
      cursor = page.next
      Check.isTrue(jobs.length < 1000, `the pages of place ${place} do not end`)
    } while (cursor !== undefined)
    return jobs
  })

/** A job that is dead. */
const buried = (kit: Kit, changes: Partial<Envelope> = {}, times = { record: 60_000, letter: 60_000 }) =>
  Effect.gen(function*() {
    const envelope = kit.envelope(changes)
    yield* kit.send(envelope)
    const subscription = yield* kit.subscribe()
    const delivery = yield* kit.take(subscription)
    const record = kit.failed(envelope, { timeToLive: times.record, valueTimeToLive: times.record })
    yield* kit.settle(subscription, { _tag: "Bury", delivery, record, timeToLive: times.letter })
    return { envelope, record, subscription }
  })

export const cases: ReadonlyArray<Case> = [
  defineHeld(
    "withdraw removes a job wherever it is and answers the record that stands",
    (kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        const running = kit.envelope()
        yield* kit.send(running)
        const delivery = yield* kit.take(subscription)
        const scheduled = kit.envelope({ due: after(300) })
        const queued = kit.envelope()
        yield* kit.send(scheduled, queued)
        const unknown = kit.envelope()
        const all = [running, scheduled, queued, unknown] as const
        const records = all.map((envelope) => kit.cancelled(envelope, { message: "because" }))
        Check.equal(
          yield* kit.log.withdraw(kit.queue, [records[0]!, ...records.slice(1)]),
          records,
          "answers of withdraw"
        )
        for (const [index, envelope] of all.entries()) {
          Check.equal(yield* kit.storedRecord(envelope), records[index], "the record of a withdrawn job")
          Check.equal(yield* kit.place(envelope), "nowhere", "the place of a withdrawn job")
        }
        Check.equal(yield* subscription.extend([delivery]), [], "heartbeat of a withdrawn job")
        yield* kit.nothing(subscription, "all jobs are withdrawn", 500)
      })
  ),

  defineHeld("withdraw after the end answers the first record, for ever", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope()
      yield* kit.send(envelope)
      const subscription = yield* kit.subscribe()
      yield* kit.settle(subscription, kit.ack(yield* kit.take(subscription)))
      const first = kit.record(envelope)
      for (const state of ["cancelled", "expired"] as const) {
        const answers = yield* kit.log.withdraw(kit.queue, [kit.cancelled(envelope, { state })])
        Check.equal(answers, [first], "the record that stands")
      }
      Check.equal(yield* kit.storedRecord(envelope), first, "the record")
    })),

  defineHeld("of many withdrawals one record stands, and all are told which", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope()
      yield* kit.send(envelope)
      const answers = yield* Effect.all(
        Array.from({ length: 10 }, (_, index) =>
          kit.log.withdraw(kit.queue, [kit.cancelled(envelope, { message: `number ${index}` })])),
        { concurrency: "unbounded" }
      )
      const standing = Check.present(yield* kit.storedRecord(envelope), "the record")
      for (const [answer] of answers) {
        Check.equal(answer, standing, "the record that a withdrawal was told")
      }
    })),

  defineHeld("locate knows the place of a job at every stage", (kit) =>
    Effect.gen(function*() {
      const before = yield* kit.now()
      const scheduled = kit.envelope({ due: after(60_000) })
      const first = kit.envelope()
      const subscription = yield* kit.subscribe()
      yield* kit.send(first, scheduled)
      const delivery = yield* kit.take(subscription)
      const key = kit.name("key")
      const queued = [kit.envelope({ key }), kit.envelope({ key })] as const
      yield* kit.send(...queued)
      const unknown = kit.envelope()
      const places = yield* Effect.all([first, scheduled, ...queued, unknown].map((one) => kit.place(one)))
      Check.equal(places, ["running", "scheduled", "queued", "queued", "nowhere"], "places")
      const waiting = Check.present(yield* kit.locate(scheduled), "the scheduled job")
      Check.equal(waiting.envelope, scheduled, "the envelope of a scheduled job")
      Check.equal(waiting.record, undefined, "the record of a scheduled job")
      // a broker rounds up to whole ms: a delay is never short
      Check.between(waiting.dueAt, before + 60_000, (yield* kit.now()) + 60_001, "when the scheduled job is due")
      yield* kit.settle(subscription, kit.forward(delivery, { due: after(60_000), attempt: 2 }))
      const retry = Check.present(yield* kit.locate(first), "the job that waits for its retry")
      Check.equal([retry.place, retry.envelope.attempt], ["scheduled", 2], "place and attempt of a retry")
      const answers = yield* kit.log.locate(kit.queue, [unknown.id, first.id, unknown.id])
      Check.equal(answers.map(({ _tag }) => _tag), ["None", "Some", "None"], "answers in the order of the ids")
      const nobodys = yield* kit.log.locate(kit.name("unused"), [first.id])
      Check.equal(nobodys.map(({ _tag }) => _tag), ["None"], "a job in a queue that nobody used")
    })),

  defineHeld("a delayed job is queued when it is due, seen or not", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope({ due: after(300) })
      yield* kit.send(envelope)
      yield* kit.time.elapse(300)
      const due = Effect.map(kit.place(envelope), (place) => place === "queued")
      yield* kit.eventually(due, "queueing a job that is due and that nobody pulls")
    })),

  defineHeld("stats count the jobs of every place", (kit) =>
    Effect.gen(function*() {
      const empty = { scheduled: 0, queued: 0, running: 0, dead: 0, oldestAge: undefined, consumers: 0 }
      Check.equal(yield* kit.log.stats(kit.queue), empty, "stats of a queue that nobody used")
      const subscription = yield* kit.subscribe({ lease: 30_000 })
      yield* kit.send(kit.envelope(), kit.envelope(), kit.envelope(), kit.envelope())
      const [dead, done] = yield* kit.collect(subscription, 4)
      yield* subscription.settle([kit.bury(dead!), kit.ack(done!)])
      const key = kit.name("key")
      const before = yield* kit.now()
      yield* kit.send(
        kit.envelope({ due: after(60_000) }),
        kit.envelope({ key }),
        kit.envelope({ key }),
        kit.envelope()
      )
      const sent = yield* kit.now()
      yield* kit.time.elapse(300)
      const counts = { scheduled: 1, queued: 3, running: 2, dead: 1, oldestAge: undefined, consumers: 1 }
      const withoutAge = Effect.map(kit.log.stats(kit.queue), (stats) => ({ ...stats, oldestAge: undefined }))
      // the counters of a broker may lag a little behind
      yield* kit.eventually(Effect.map(withoutAge, ({ queued, running }) => queued === 3 && running === 2), "counting")
      Check.equal(yield* withoutAge, counts, "stats")
      const stats = yield* kit.log.stats(kit.queue)
      const now = yield* kit.now()
      // a broker may round its times to whole ms
      Check.between(
        Check.present(stats.oldestAge, "oldestAge"),
        300 - (sent - before) - 2,
        now - before + 2,
        "oldestAge"
      )
    })),

  defineHeld("list pages through every place", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe({ lease: 30_000 })
      const eleven = (changes: Partial<Envelope> = {}) =>
        Array.from({ length: 11 }, (_, index) => kit.envelope({ body: bytes(`body ${index}`), ...changes }))
      const sendAll = ([head, ...tail]: ReadonlyArray<Envelope>) => kit.send(head!, ...tail)
      const [dead, running, queued, scheduled] = [eleven(), eleven(), eleven(), eleven({ due: after(60_000) })]
      yield* sendAll(dead)
      const [first, ...others] = yield* kit.collect(subscription, 11)
      yield* subscription.settle([kit.bury(first!), ...others.map((delivery) => kit.bury(delivery))])
      yield* sendAll(running)
      yield* kit.collect(subscription, 11)
      yield* sendAll(queued)
      yield* sendAll(scheduled)
      const places = [["dead", dead], ["running", running], ["queued", queued], ["scheduled", scheduled]] as const
      for (const [place, expected] of places) {
        for (const limit of [4, 11, 100]) {
          const jobs = yield* listAll(kit, place, limit)
          const what = `${place} jobs in pages of ${limit}`
          Check.sameMembers(jobs.map(({ envelope }) => envelope.id), expected.map(({ id }) => id), what)
          for (const job of jobs) {
            Check.equal(job.place, place, `the place of one of the ${what}`)
            Check.equal(job.envelope, expected.find(({ id }) => id === job.envelope.id), `one of the ${what}`)
            Check.equal(job.record?.state, place === "dead" ? "failed" : undefined, `the record of one of the ${what}`)
          }
        }
      }
      const page = yield* kit.log.list(kit.queue, "queued", { limit: 4 })
      Check.between(page.items.length, 1, 4, "items of a page of 4")
      Check.equal(
        yield* kit.log.list(kit.name("unused"), "queued", { limit: 4 }),
        { items: [], next: undefined },
        "no jobs"
      )
    })),

  defineHeld("a listing survives changes between its pages", (kit) =>
    Effect.gen(function*() {
      const envelopes = Array.from({ length: 12 }, () => kit.envelope({ due: after(60_000) }))
      const [head, ...tail] = envelopes
      yield* kit.send(head!, ...tail)
      const first = yield* kit.log.list(kit.queue, "scheduled", { limit: 4 })
      const seen = new Set(first.items.map(({ envelope }) => envelope.id))
      // everything that the cursor could point at goes
      const gone = envelopes.filter(({ id }) => seen.has(id))
      const rest = envelopes.filter(({ id }) => !seen.has(id))
      gone.push(rest.pop()!)
      const records = gone.map((envelope) => kit.cancelled(envelope))
      yield* kit.log.withdraw(kit.queue, [records[0]!, ...records.slice(1)])
      yield* kit.send(kit.envelope({ due: after(60_000) }))
      let cursor = first.next
      while (cursor !== undefined) {
        const page = yield* kit.log.list(kit.queue, "scheduled", { limit: 4, cursor })
        for (const { envelope } of page.items) seen.add(envelope.id)
        cursor = page.next
      }
      const missing = rest.filter(({ id }) => !seen.has(id))
      Check.equal(missing.map(({ id }) => id), [], "jobs that stayed and were not listed")
    })),

  defineHeld(
    "a dead letter is replayed by a new envelope, which frees the id of its record",
    (kit) =>
      Effect.gen(function*() {
        const { envelope, subscription } = yield* buried(kit)
        Check.equal(yield* kit.log.send([envelope]), ["duplicate"], "sending the id of a dead letter")
        const replay = { ...envelope, attempt: 1, body: bytes("mended"), writtenAt: 5 }
        Check.equal(
          yield* kit.log.redrive(kit.queue, [{ id: envelope.id, as: replay }]),
          ["done"],
          "answer to a replay"
        )
        Check.equal(yield* kit.storedRecord(envelope), undefined, "the record after a replay")
        Check.equal(yield* kit.place(envelope), "queued", "the place after a replay")
        const delivery = yield* kit.take(subscription)
        Check.equal(delivery.envelope, replay, "the replayed job")
        Check.equal(delivery.deliveries, 1, "deliveries of the replayed job")
        yield* kit.settle(subscription, kit.ack(delivery))
        Check.equal(yield* kit.storedRecord(envelope), kit.record(envelope), "the record of the replayed job")
        Check.equal(yield* kit.place(envelope), "nowhere", "the place of the replayed job")
        Check.equal(
          yield* kit.log.redrive(kit.queue, [{ id: envelope.id, as: replay }]),
          ["missing"],
          "a second replay"
        )
      })
  ),

  defineHeld(
    "dropping a dead letter keeps its record; a missing letter is said to be missing",
    (kit) =>
      Effect.gen(function*() {
        const { envelope, record } = yield* buried(kit)
        const answers = yield* kit.log.redrive(kit.queue, [
          { id: "nobody", as: "drop" },
          { id: envelope.id, as: "drop" },
          { id: envelope.id, as: "drop" }
        ])
        Check.equal(answers, ["missing", "done", "missing"], "answers of redrive")
        Check.equal(yield* kit.place(envelope), "nowhere", "the place of a dropped letter")
        Check.equal(yield* kit.storedRecord(envelope), record, "the record of a dropped letter")
        Check.equal(yield* kit.log.send([envelope]), ["duplicate"], "sending the id of a dropped letter")
      })
  ),

  defineHeld(
    "a letter outlives its record without blocking the id, and is not replayed over a live job",
    (kit) =>
      Effect.gen(function*() {
        const { envelope, subscription } = yield* buried(kit, {}, { record: 1500, letter: 60_000 })
        const sentAgain = Effect.map(kit.log.send([envelope]), ([answer]) => answer === "sent")
        yield* kit.eventually(sentAgain, "sending the id of a letter whose record has expired")
        const replay = [{ id: envelope.id, as: { ...envelope, body: bytes("replay") } }] as const
        Check.equal(yield* kit.log.redrive(kit.queue, replay), ["duplicate"], "replay over a queued job")
        const delivery = yield* kit.take(subscription)
        Check.equal(yield* kit.log.redrive(kit.queue, replay), ["duplicate"], "replay over a running job")
        Check.equal(delivery.envelope, envelope, "the live job")
        yield* kit.settle(subscription, kit.drop(delivery))
        Check.equal(yield* kit.place(envelope), "dead", "the place when only the letter is left")
        Check.equal(yield* kit.log.redrive(kit.queue, replay), ["done"], "replay when the id is free")
        Check.equal((yield* kit.take(subscription)).envelope.body, bytes("replay"), "the replayed job")
      })
  ),

  defineHeld("a dead letter is kept for its time and then forgotten", (kit) =>
    Effect.gen(function*() {
      const before = yield* kit.now()
      const { envelope } = yield* buried(kit, {}, { record: 60_000, letter: 1500 })
      yield* kit.time.elapse(500)
      const early = yield* kit.place(envelope)
      if ((yield* kit.now()) < before + 1500) Check.equal(early, "dead", "the place before its time is over")
      yield* kit.eventually(
        Effect.map(kit.place(envelope), (place) => place === "nowhere"),
        "forgetting a dead letter whose time is over"
      )
      Check.equal((yield* kit.log.stats(kit.queue)).dead, 0, "dead letters")
      Check.equal(yield* listAll(kit, "dead", 10), [], "listed letters")
    }))
]
