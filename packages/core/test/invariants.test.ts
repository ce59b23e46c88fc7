import { assert, describe, it } from "@effect/vitest"
import * as Invariants from "../src/testing/Invariants.ts"
import { cancel, kindsOf, type Parts, record, rule, run, seen, sent } from "./invariants/parts.ts"

/** Runs that ended with their workers. */
const killed = (...deliveries: ReadonlyArray<number>) =>
  deliveries.map((deliveries, i) =>
    run({ deliveries, startedAt: 1_100 + 100 * i, endedAt: 1_150 + 100 * i, outcome: "killed" })
  )

describe("Invariants", () => {
  describe("places", () => {
    it("Loss", () => {
      rule(
        "Loss",
        { observations: [seen()] },
        { observations: [seen({ places: ["queued"] })] },
        { observations: [seen({ record: record() })], runs: [run()] },
        // the answer to its enqueue never came
        { sent: [sent({ accepted: false })], observations: [seen()] },
        // its record may have come and gone
        { observations: [seen({ places: ["running"] }), seen({ at: 61_200 })] }
      )
      rule("Loss", { observations: [seen({ places: ["running"], at: 2_000 }), seen({ at: 61_200 })] })
    })

    it("Loss: a dead letter without a record", () => {
      const failed = record({ state: "failed", reason: "Discarded" })
      const runs = [run({ outcome: "discarded" })]
      rule(
        "Loss",
        { runs, observations: [seen({ places: ["dead"] })] },
        { runs, observations: [seen({ places: ["dead"], record: failed })] },
        { runs, observations: [seen({ places: ["dead"], record: failed }), seen({ places: ["dead"], at: 62_000 })] }
      )
    })

    it("TwoPlaces", () => {
      rule("TwoPlaces", { observations: [seen({ places: ["queued", "running"] })] })
      rule("TwoPlaces", { runs: [run()], observations: [seen({ places: ["queued"], record: record() })] })
      rule("TwoPlaces", { runs: [run()], observations: [seen({ places: ["dead"], record: record() })] })
    })

    it("RecordChanged", () => {
      const runs = [run()]
      const first = seen({ record: record() })
      rule(
        "RecordChanged",
        { runs, observations: [first, seen({ at: 1_300, record: record({ state: "cancelled" }) })] },
        { runs, observations: [first, seen({ at: 1_300, record: record() })] }
      )
      // the same state, but of another run
      rule("RecordChanged", { runs, observations: [first, seen({ at: 1_300, record: record({ finishedAt: 1_250 }) })] })
      // a push says something else than the row
      const pushed = seen({ at: 1_300, places: undefined, record: record({ finishedAt: 1_250 }) })
      rule("RecordChanged", { runs, observations: [first, pushed] })
    })

    it("RecordChanged: gone before its time", () => {
      const runs = [run()]
      const first = seen({ record: record() })
      rule(
        "RecordChanged",
        { runs, observations: [first, seen({ at: 60_999 })] },
        { runs, observations: [first, seen({ at: 61_000 })] }
      )
    })

    it("AcceptedTwice", () => {
      const again = { generation: 1, order: 1 }
      const alive = seen({ at: 5_000, places: ["running"] })
      rule(
        "AcceptedTwice",
        { sent: [sent(), sent({ ...again, acceptedAt: 64_999, dueAt: 64_999 })], observations: [alive] },
        { sent: [sent(), sent({ ...again, acceptedAt: 65_000, dueAt: 65_000 })], observations: [alive] },
        { sent: [sent(), sent({ ...again, replayed: true, acceptedAt: 5_000, dueAt: 5_000 })], observations: [] }
      )
      rule("AcceptedTwice", {
        sent: [sent(), sent({ ...again, acceptedAt: 70_000, dueAt: 70_000 })],
        runs: [run()],
        observations: [seen({ record: record({ timeToLive: 3_600_000 }) })]
      })
    })

    it("Unfinished", () => {
      const options = { finished: true }
      rule(
        "Unfinished",
        { observations: [seen({ places: ["scheduled"] })], options },
        { observations: [seen({ places: ["scheduled"] })] },
        { observations: [seen({ places: ["running"] }), seen({ at: 2_000, record: record() })], runs: [run()], options }
      )
    })
  })

  describe("starts", () => {
    it("EarlyStart", () => {
      const jobs = [sent({ dueAt: 2_000 })]
      rule(
        "EarlyStart",
        { sent: jobs, runs: [run({ startedAt: 1_999, endedAt: 2_100 })] },
        { sent: jobs, runs: [run({ startedAt: 2_000, endedAt: 2_100 })] },
        { sent: jobs, runs: [run({ startedAt: 1_990, endedAt: 2_100 })], options: { tolerance: 10 } }
      )
    })

    it("EarlyStart after a retry and after a snooze", () => {
      const failed = run({ outcome: "failed", delay: 500 })
      const second = { attempt: 2, endedAt: 2_000 }
      rule(
        "EarlyStart",
        { runs: [failed, run({ ...second, startedAt: 1_599 })] },
        { runs: [failed, run({ ...second, startedAt: 1_600 })] }
      )
      const snoozed = run({ outcome: "snoozed", delay: 500 })
      rule(
        "EarlyStart",
        { runs: [snoozed, run({ startedAt: 1_599, endedAt: 2_000 })] },
        { runs: [snoozed, run({ startedAt: 1_600, endedAt: 2_000 })] },
        // redelivered: the snooze was never taken
        { runs: [{ ...snoozed, settled: false }, run({ startedAt: 1_599, endedAt: 2_000, deliveries: 2 })] }
      )
      // the broker took the second snooze, so the first one explains nothing
      const again = run({ startedAt: 1_600, endedAt: 1_700, outcome: "snoozed", delay: 500, settled: true })
      rule("EarlyStart", { runs: [snoozed, again, run({ startedAt: 1_800, endedAt: 2_000 })] })
    })

    it("WrongAttempt", () => {
      const next = { startedAt: 1_200, endedAt: 1_300 }
      for (const outcome of ["snoozed", "interrupted", "killed"] as const) {
        rule(
          "WrongAttempt",
          { runs: [run({ outcome }), run({ ...next, attempt: 2 })] },
          { runs: [run({ outcome }), run({ ...next, deliveries: outcome === "killed" ? 2 : 1 })] }
        )
      }
      // a failure that was not counted
      rule(
        "WrongAttempt",
        { runs: [run({ outcome: "failed" }), run(next)] },
        { runs: [run({ outcome: "failed" }), run({ ...next, attempt: 2 })] },
        { runs: [run({ outcome: "failed" }), run({ ...next, deliveries: 2 })] },
        { runs: [run({ outcome: "failed" }), run(next)], options: { exactDeliveries: false } }
      )
      // backwards
      rule("WrongAttempt", {
        runs: [
          run({ outcome: "failed" }),
          run({ ...next, attempt: 2, outcome: "killed" }),
          run({ startedAt: 1_400, endedAt: 1_500, deliveries: 2 })
        ]
      })
    })

    it("WrongAttempt above the limit", () => {
      rule(
        "WrongAttempt",
        {
          sent: [sent({ maxAttempts: 1 })],
          runs: [run({ outcome: "failed" }), run({ startedAt: 1_200, endedAt: 1_300, attempt: 2 })]
        },
        { sent: [sent({ maxAttempts: 1 })], runs: [run({ outcome: "failed" })] }
      )
    })

    it("TooManyDeliveries", () => {
      rule(
        "TooManyDeliveries",
        { runs: killed(3, 4, 5, 6) },
        { runs: killed(3, 4, 5) },
        { runs: killed(3, 4, 5, 6), options: { maxDeliveries: 6 } },
        // at the others it was not started, or the count began anew
        { runs: killed(1, 2, 4, 5, 8) },
        { runs: killed(3, 4, 5, 3, 4, 6) }
      )
    })

    it("StartAfterExpiry", () => {
      const jobs = [sent({ expiresAt: 1_500 })]
      rule(
        "StartAfterExpiry",
        { sent: jobs, runs: [run({ startedAt: 1_501, endedAt: 1_600 })] },
        { sent: jobs, runs: [run({ startedAt: 1_499, endedAt: 1_600 })] },
        { sent: jobs, runs: [run({ startedAt: 1_501, endedAt: 1_600 })], options: { workerTolerance: 5 } }
      )
    })

    it("StartAfterCancel", () => {
      rule(
        "StartAfterCancel",
        { cancels: [cancel({ inHands: false })], runs: [run()] },
        { cancels: [cancel({ inHands: false, returnedAt: 1_000 })], runs: [run()] },
        { cancels: [cancel({ inHands: false, answer: "succeeded" })], runs: [run()] },
        // it was in a worker's buffer, and the message was lost
        { cancels: [cancel()], runs: [run()] },
        { cancels: [cancel()], runs: [run()], options: { cancelGrace: 100 } }
      )
      rule("StartAfterCancel", { cancels: [cancel()], runs: [run()], options: { cancelGrace: 99 } })
    })

    it("StartAfterEnd", () => {
      const observations = [seen({ record: record() })]
      const late = { startedAt: 1_300, endedAt: 1_400, deliveries: 2 }
      rule(
        "StartAfterEnd",
        { observations, runs: [run(), run(late)] },
        { observations, runs: [run(), run({ ...late, leaseLostAt: 1_250 })] },
        { observations, runs: [run(), run({ ...late, startedAt: 1_150 })] }
      )
    })

    it("UnknownJob", () => {
      rule("UnknownJob", { runs: [run({ id: "ghost" })] }, { runs: [run()] })
      rule("UnknownJob", { runs: [run({ generation: 1 })] })
    })
  })

  describe("keys", () => {
    const jobs = [sent({ key: "k" }), sent({ id: "b", key: "k", order: 1 })]

    it("KeyOverlap", () => {
      rule(
        "KeyOverlap",
        { sent: jobs, runs: [run(), run({ id: "b", startedAt: 1_099, endedAt: 1_200 })] },
        { sent: jobs, runs: [run(), run({ id: "b", startedAt: 1_100, endedAt: 1_200 })] },
        { sent: jobs, runs: [run({ leaseLostAt: 1_050 }), run({ id: "b", startedAt: 1_099, endedAt: 1_200 })] },
        { sent: [sent(), sent({ id: "b" })], runs: [run(), run({ id: "b" })] }
      )
      // it lost its lease, but only after the other one had started
      const late = { id: "b", startedAt: 1_099, endedAt: 1_200 }
      rule("KeyOverlap", { sent: jobs, runs: [run({ leaseLostAt: 1_100 }), run(late)] })
    })

    it("JobOverlap", () => {
      rule(
        "JobOverlap",
        { runs: [run(), run({ startedAt: 1_050, endedAt: 1_200, deliveries: 2 })] },
        { runs: [run({ leaseLostAt: 1_040 }), run({ startedAt: 1_050, endedAt: 1_200, deliveries: 2 })] },
        // nobody knows when it ended
        { runs: [run({ endedAt: undefined }), run({ startedAt: 1_050, endedAt: 1_200, deliveries: 2 })] }
      )
    })

    it("KeyOrder", () => {
      const ran = (id: string, startedAt: number, changes: Partial<Invariants.Run> = {}) =>
        run({ id, startedAt, endedAt: startedAt + 10, ...changes })
      rule(
        "KeyOrder",
        { sent: jobs, runs: [ran("b", 1_000), ran("a", 1_020)] },
        { sent: jobs, runs: [ran("a", 1_000), ran("b", 1_020)] },
        // due later, whenever it was accepted
        { sent: [sent({ key: "k", dueAt: 1_010 }), jobs[1]!], runs: [ran("b", 1_000), ran("a", 1_020)] },
        // which was first is not known
        { sent: [sent({ key: "k", dueBy: 1_010 }), jobs[1]!], runs: [ran("b", 1_000), ran("a", 1_020)] },
        // a job that waits for its retry keeps its turn
        { sent: jobs, runs: [ran("a", 1_000, { outcome: "failed" }), ran("a", 1_020, { attempt: 2 }), ran("b", 1_040)] }
      )
      rule("KeyOrder", {
        sent: jobs,
        runs: [ran("a", 1_000, { outcome: "failed" }), ran("b", 1_020), ran("a", 1_040, { attempt: 2 })]
      })
    })
  })

  describe("ends", () => {
    const ended = (view: Partial<Invariants.RecordView>) => [seen({ record: record(view) })]

    it("WrongRecord: succeeded", () => {
      const observations = ended({})
      rule(
        "WrongRecord",
        { observations, runs: [run({ outcome: "failed" })] },
        { observations, runs: [run()] }
      )
      rule("WrongRecord", { observations })
      rule("WrongRecord", { observations: ended({ attempts: 2 }), runs: [run()] })
    })

    it("WrongRecord: failed", () => {
      const failed = { state: "failed", reason: "Error" } as const
      const runs = [run({ outcome: "failed" })]
      rule(
        "WrongRecord",
        { observations: ended(failed), runs },
        { observations: ended(failed), runs, sent: [sent({ maxAttempts: 1 })] },
        // the retry schedule may have ended
        { observations: ended(failed), runs, sent: [sent({ maxAttempts: undefined })] },
        // reasons that no run gives
        { observations: ended({ state: "failed", reason: "Poison", attempts: 0 }) }
      )
      rule("WrongRecord", { observations: ended({ ...failed, attempts: 3 }), runs })
      rule("WrongRecord", { observations: ended({ ...failed, attempts: 4 }), runs })
      const discarded = ended({ state: "failed", reason: "Discarded" })
      rule("WrongRecord", { observations: discarded, runs }, {
        observations: discarded,
        runs: [run({ outcome: "discarded" })]
      })
    })

    it("WrongRecord: expired", () => {
      const expired = { state: "expired", attempts: 0 } as const
      rule(
        "WrongRecord",
        { observations: ended(expired) },
        { observations: ended(expired), sent: [sent({ expiresAt: 1_100 })] }
      )
      rule("WrongRecord", { observations: ended(expired), sent: [sent({ expiresAt: 1_101 })] })
    })

    it("WrongCancelAnswer", () => {
      rule(
        "WrongCancelAnswer",
        { cancels: [cancel()], observations: ended({}), runs: [run()] },
        { cancels: [cancel({ answer: "succeeded" })], observations: ended({}), runs: [run()] },
        { cancels: [cancel()], observations: ended({ state: "cancelled", attempts: 0 }) }
      )
    })

    it("LostLease", () => {
      const lost = run({ leaseLostAt: 1_050, healthy: true })
      const cancelled = ended({ state: "cancelled" })
      rule(
        "LostLease",
        { runs: [lost] },
        { runs: [{ ...lost, healthy: false }] },
        { runs: [lost], observations: cancelled }
      )
    })

    it("StaleSettle", () => {
      const lost = run({ leaseLostAt: 1_050 })
      rule(
        "StaleSettle",
        { runs: [{ ...lost, settled: true }] },
        { runs: [{ ...lost, settled: false }] },
        { runs: [run({ settled: true })] }
      )
    })

    it("FencingOrder", () => {
      const second = { startedAt: 1_200, endedAt: 1_300, deliveries: 2 }
      const first = run({ outcome: "killed", token: { value: 7, takenAt: 1_010 } })
      rule(
        "FencingOrder",
        { runs: [first, run({ ...second, token: { value: 7, takenAt: 1_210 } })] },
        { runs: [first, run({ ...second, token: { value: 8, takenAt: 1_210 } })] }
      )
      // a worker that stood still hears late of a token that it took in time
      const late = run({ endedAt: 1_400, leaseLostAt: 1_100, token: { value: 6, takenAt: 1_300 } })
      assert.deepStrictEqual(kindsOf({ runs: [late, run({ ...second, token: { value: 7, takenAt: 1_210 } })] }), [])
      // it lost its lease, and took a token after the next owner had taken one
      const stale = run({ endedAt: 1_400, leaseLostAt: 1_100, token: { value: 8, takenAt: 1_220 } })
      const owner = run({ ...second, token: { value: 7, takenAt: 1_210 } })
      rule("FencingOrder", { runs: [stale, owner] }, { runs: [{ ...stale, leaseLostAt: 1_250 }] })
      rule("FencingOrder", { runs: [run({ leaseLostAt: 999, token: { value: 8, takenAt: 1_220 } })] })
    })
  })

  it("keeps jobs of one id apart by generation", () => {
    const failed = record({ state: "failed", reason: "Discarded" })
    const again = { generation: 1, startedAt: 3_000, endedAt: 3_100 }
    const parts: Parts = {
      sent: [sent(), sent({ generation: 1, replayed: true, acceptedAt: 3_000, dueAt: 3_000, order: 1 })],
      runs: [run({ outcome: "discarded" }), run(again)],
      observations: [
        seen({ places: ["dead"], record: failed }),
        // of which of them cannot be known
        seen({ at: 3_000, places: ["dead"], record: failed }),
        seen({ at: 3_050, places: ["running"] }),
        // a waiter hears of the first end when the second run is under way
        seen({ at: 3_060, places: undefined, record: failed }),
        seen({ at: 3_200, record: record({ finishedAt: 3_100 }) })
      ],
      options: { finished: true }
    }
    assert.deepStrictEqual(kindsOf(parts), [])
  })

  it("tells violations in the order of time, each in one line", () => {
    const violations = Invariants.check({
      sent: [sent(), sent({ id: "b", order: 1, dueAt: 5_000 })],
      runs: [run({ id: "b", worker: "w2", startedAt: 4_000 })],
      cancels: [],
      observations: [seen()]
    })
    assert.strictEqual(
      Invariants.format(violations),
      "Loss: job \"a\" of queue \"q\" at 1200: it was accepted, and has neither a place nor a record.\n" +
        "EarlyStart: job \"b\" of queue \"q\" at 4000: worker \"w2\" started it 1000 ms before it was due."
    )
    assert.strictEqual(Invariants.format([]), "No violations.")
  })
})
