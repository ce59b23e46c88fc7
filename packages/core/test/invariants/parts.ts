/** Hand-made histories, and what is to be found in them. */
import { assert } from "@effect/vitest"
import * as Invariants from "../../src/testing/Invariants.ts"

export const queue = "q"

export const sent = (changes: Partial<Invariants.Sent> = {}): Invariants.Sent => ({
  queue,
  id: "a",
  task: "Task",
  key: undefined,
  acceptedAt: 1_000,
  dueAt: 1_000,
  order: 0,
  maxAttempts: 3,
  expiresAt: undefined,
  ...changes
})

export const run = (changes: Partial<Invariants.Run> = {}): Invariants.Run => ({
  queue,
  id: "a",
  worker: "w",
  attempt: 1,
  deliveries: 1,
  startedAt: 1_000,
  endedAt: 1_100,
  outcome: "succeeded",
  ...changes
})

export const record = (changes: Partial<Invariants.RecordView> = {}): Invariants.RecordView => ({
  state: "succeeded",
  reason: undefined,
  attempts: 1,
  finishedAt: 1_100,
  timeToLive: 60_000,
  ...changes
})

export const seen = (changes: Partial<Invariants.Observation> = {}): Invariants.Observation => ({
  queue,
  id: "a",
  at: 1_200,
  places: [],
  record: undefined,
  ...changes
})

export const cancel = (changes: Partial<Invariants.Cancel> = {}): Invariants.Cancel => ({
  queue,
  id: "a",
  returnedAt: 900,
  answer: "cancelled",
  ...changes
})

export const move = (changes: Partial<Invariants.Move> = {}): Invariants.Move => ({
  queue,
  id: "a",
  movedAt: 1_500,
  dueAt: 3_000,
  ...changes
})

export interface Parts {
  readonly sent?: ReadonlyArray<Invariants.Sent>
  readonly runs?: ReadonlyArray<Invariants.Run>
  readonly cancels?: ReadonlyArray<Invariants.Cancel>
  readonly observations?: ReadonlyArray<Invariants.Observation>
  readonly moves?: ReadonlyArray<Invariants.Move>
  readonly options?: Invariants.Options
}

export const kindsOf = (
  { cancels = [], moves = [], observations = [], options, runs = [], sent: jobs = [sent()] }: Parts
) => Invariants.check({ sent: jobs, runs, cancels, observations, moves }, options).map(({ kind }) => kind)

/** What is wrong with `bad` alone, and nothing with its honest twins. */
export const rule = (kind: Invariants.Kind, bad: Parts, ...honest: ReadonlyArray<Parts>) => {
  assert.deepStrictEqual(kindsOf(bad), [kind])
  for (const parts of honest) assert.deepStrictEqual(kindsOf(parts), [])
}
