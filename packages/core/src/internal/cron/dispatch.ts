/**
 * Turns due ticks into runs. Every step is safe to repeat, in any process: the
 * job of a tick has one id, its row is created if absent, and the cursor moves
 * last.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Client } from "../../Client.ts"
import type { EnqueueError } from "../../EnqueueError.ts"
import type { NewJob } from "../../EnqueueOptions.ts"
import type { Transport } from "../../Transport.ts"
import { TransportError } from "../../TransportError.ts"
import type { Ticket } from "../cronHeader.ts"
import type { Found } from "../rows.ts"
import type { BrokerClock } from "./brokerClock.ts"
import type { Definition } from "./definition.ts"
import * as Entry from "./entry.ts"
import type { Inline } from "./inline.ts"
import * as Runs from "./runs.ts"
import * as State from "./state.ts"
import * as Ticks from "./ticks.ts"

export interface Options {
  readonly transport: Transport["Service"]
  readonly client: Client["Service"]
  readonly clock: BrokerClock
  readonly inline: Inline
  readonly codeOf: (name: string) => Entry.Code | undefined
  /** Called for every run that the history has to be closed for. */
  readonly onRun: (name: string, key: string) => void
}

/** What is to be done for one job now. */
interface Plan {
  readonly entry: Entry.Entry
  readonly found: Found<State.State>
  readonly due: Ticks.Due
  readonly tickets: ReadonlyArray<Ticket>
  /** Of what seems to be missed: what a scheduler sent that ended before it moved the cursor. */
  readonly sent: ReadonlyArray<Ticket>
}

/** Jobs per call of the broker. */
const sendBatch = 200

const concurrency = 32

/** Missed ticks that are looked at: a scheduler that ends leaves the first ones behind. */
const looks = 100

const missedKey = ({ missed }: Ticks.Due): string | undefined => missed && `missed-${Entry.keyOf(missed.last)}`

export const make = (options: Options) => {
  const { client, clock, codeOf, inline, onRun, transport } = options

  /**
   * A scheduler sends the job of a tick, then moves the cursor. If it ends in between, the tick looks like a missed one:
   * it has a row if it began, and a job if it did not.
   */
  const leaveSent = Effect.fnUntraced(function*({ definition, next }: Entry.Entry, cursor: number, due: Ticks.Due) {
    const { name, what } = definition
    if (due.missed === undefined || what._tag !== "Task") return { due, sent: [] }
    const looked = Ticks.between(next, cursor, due.missed.last, looks)
    const rows = yield* Runs.runs.read(transport, looked.map((tick) => Runs.rowKey(name, Entry.keyOf(tick))))
    const sent = new Set(looked.filter((_, index) => rows[index]!.value !== undefined))
    const others = looked.filter((tick) => !sent.has(tick))
    if (Arr.isReadonlyArrayNonEmpty(others)) {
      const jobs = yield* transport.log.locate(
        what.queue,
        Arr.map(others, (tick) => Runs.idOf(name, Entry.keyOf(tick)))
      )
      others.forEach((tick, index) => {
        if (Option.isSome(jobs[index]!)) sent.add(tick)
      })
    }
    return { due: { ...due, missed: Ticks.without(due.missed, looked, sent) }, sent: [...sent].sort((a, b) => a - b) }
  })

  /** `undefined` if there is nothing to do; then `entry.at` is right again. */
  const plan = Effect.fnUntraced(function*(
    entry: Entry.Entry,
    found: Found<State.State>,
    now: number
  ): Effect.fn.Return<Plan | undefined, TransportError> {
    const { definition, next, spec } = entry
    const state = found.value
    if (state === undefined || state.spec !== spec) {
      // new or changed, and nobody has said so yet
      const begun = yield* State.states.update(
        transport,
        definition.name,
        (state) => state?.spec === spec ? undefined : State.begin(state, spec, now)
      )
      // somebody else may have begun it, and earlier: the cursor says where to go on
      const { cursor } = begun ?? (yield* State.states.readOne(transport, definition.name)).value ?? { cursor: now }
      entry.at = next(cursor)
      return undefined
    }
    const left = definition.limit === undefined ? Number.POSITIVE_INFINITY : definition.limit - state.count
    const ticks = left <= 0 ? undefined : Ticks.due(
      next,
      {
        missed: definition.missed,
        window: definition.missedWindow
      },
      state.cursor,
      now
    )
    if (ticks === undefined) {
      entry.at = left <= 0 ? undefined : next(state.cursor)
      return undefined
    }
    const ticketOf = (tick: number) => Entry.ticketOf(definition, { key: Entry.keyOf(tick), tick, trigger: "schedule" })
    const { due, sent } = yield* leaveSent(entry, state.cursor, ticks)
    return {
      entry,
      found,
      due,
      tickets: due.run.slice(0, Math.max(0, left - sent.length)).map(ticketOf),
      sent: sent.map(ticketOf)
    }
  })

  const expiryOf = ({ jitter, missedWindow }: Definition, tick: number) => tick + missedWindow + jitter

  const dueOf = (definition: Definition, tick: number): Pick<NewJob, "at" | "expiresAt"> => {
    const delay = Ticks.jitter(definition.name, tick, definition.jitter)
    return { at: delay === 0 ? undefined : tick + delay, expiresAt: expiryOf(definition, tick) }
  }

  const jobOf = (definition: Definition, ticket: Ticket): Effect.Effect<NewJob, EnqueueError> => {
    const toJob = codeOf(definition.name)?.toJob
    const stored = Entry.storedJob(definition)
    const job = toJob !== undefined ? toJob(ticket.tick) : Effect.succeed(stored!)
    return Effect.map(job, (job) => Entry.runOf(job, ticket, dueOf(definition, ticket.tick)))
  }

  /** Answers why runs were not enqueued, by key. Fails if the broker has to be asked again. */
  const send = Effect.fnUntraced(function*(plans: ReadonlyArray<Plan>) {
    const refused = new Map<Ticket, string>()
    const jobs: Array<{ readonly ticket: Ticket; readonly job: NewJob }> = []
    for (const { entry, tickets } of plans) {
      for (const ticket of tickets) {
        // a function of the user's: what it throws concerns this run only
        const job = yield* Effect.result(Effect.sandbox(jobOf(entry.definition, ticket)))
        if (Result.isSuccess(job)) jobs.push({ ticket, job: job.success })
        else refused.set(ticket, String(job.failure))
      }
    }
    for (const chunk of Arr.chunksOf(jobs, sendBatch)) {
      const outcomes = yield* client.send(Arr.map(chunk, ({ job }) => job))
      for (const [index, outcome] of outcomes.entries()) {
        if (Result.isSuccess(outcome)) continue
        if (outcome.failure instanceof TransportError) return yield* outcome.failure
        refused.set(chunk[index]!.ticket, outcome.failure.message)
      }
    }
    return refused
  })

  /** What the history has to be told now: the other ticks tell it when they run. */
  const rowsOf = ({ due, entry, tickets }: Plan, refused: ReadonlyMap<Ticket, string>): ReadonlyArray<Runs.RunRow> => {
    const { what } = entry.definition
    const at = clock.now()
    const rows = tickets.flatMap((ticket): ReadonlyArray<Runs.RunRow> => {
      const message = refused.get(ticket)?.slice(0, 1_024)
      if (message === undefined) return []
      const row = Runs.fresh({ ...ticket, queue: what._tag === "Task" ? what.queue : undefined }, at)
      return [{ ...row, end: { status: "FAILED", at, reason: "InvalidPayload", message } }]
    })
    const { missed } = due
    if (missed === undefined) return rows
    const ticket = Entry.ticketOf(entry.definition, { key: missedKey(due)!, tick: missed.last, trigger: "schedule" })
    const message = `${missed.count >= 1_000 ? "1000 or more" : missed.count} tick(s) from ${
      Entry.keyOf(missed.first)
    } to ${Entry.keyOf(missed.last)} were missed`
    return [{ ...Runs.fresh(ticket, at), end: { status: "SKIPPED", at, reason: "Missed", message } }, ...rows]
  }

  /** The state after these ticks; `undefined` if another process has dealt with them. */
  const advance = (state: State.State | undefined, plan: Plan) => {
    const { due, entry, sent, tickets } = plan
    if (state === undefined || state.spec !== entry.spec || state.cursor >= due.cursor) return undefined
    const isFresh = ({ tick }: Ticket) => tick > state.cursor
    const [before, fresh] = [sent.filter(isFresh), tickets.filter(isFresh)]
    const missed = missedKey(due)
    const keys = [
      ...before.map(({ key }) => key),
      ...(missed === undefined ? [] : [missed]),
      ...fresh.map(({ key }) => key)
    ]
    return State.record(
      { ...state, cursor: due.cursor, count: state.count + before.length + fresh.length },
      keys,
      entry.definition.keep.count
    )
  }

  const warnOfMissed = ({ due, entry }: Plan) =>
    due.missed === undefined
      ? Effect.void
      : Effect.logWarning(`Cron job "${entry.definition.name}" missed ${due.missed.count} tick(s)`)

  /** Takes what was enqueued into the history, and moves the cursor. */
  const record = Effect.fnUntraced(function*(plan: Plan, refused: ReadonlyMap<Ticket, string>) {
    const { due, entry, found, sent, tickets } = plan
    const { name } = entry.definition
    yield* Effect.forEach(rowsOf(plan, refused), (row) => Runs.write(transport, row, 0), { discard: true })
    const first = advance(found.value, plan)
    let dropped = first?.dropped ?? []
    const isOurs = first !== undefined &&
      (yield* State.states.write(transport, name, first.state, found.revision)) !== undefined
    const written = isOurs || (yield* State.states.update(transport, name, (state) => {
          const next = advance(state, plan)
          dropped = next?.dropped ?? []
          return next?.state
        })) !== undefined
    entry.at = entry.next(due.cursor)
    for (const { key } of [...sent, ...tickets]) onRun(name, key)
    // another scheduler was faster
    if (!written) return
    yield* warnOfMissed(plan)
    yield* Runs.runs.remove(transport, dropped.map((key) => Runs.rowKey(name, key)))
  })

  /** Runs without a task: who moves the cursor runs them. */
  const claim = Effect.fnUntraced(function*(plan: Plan) {
    const { due, entry, found, tickets } = plan
    const { definition } = entry
    const { name } = definition
    const next = advance(found.value, plan)
    const start = () => {
      entry.at = entry.next(due.cursor)
      const execute = codeOf(name)!.execute!
      for (const ticket of tickets) {
        onRun(name, ticket.key)
        const at = ticket.tick + Ticks.jitter(name, ticket.tick, definition.jitter)
        inline.start({ ticket, execute, at, expiresAt: expiryOf(definition, ticket.tick) })
      }
    }
    // nobody else runs what was taken: a scheduler that stops in this moment does
    const won = next !== undefined && (yield* Effect.uninterruptible(Effect.map(
      State.states.write(transport, name, next.state, found.revision),
      (revision) => {
        if (revision !== undefined) start()
        return revision !== undefined
      }
    )))
    if (!won) {
      // somebody else has them, or changed something: the state will tell
      for (const { key } of tickets) onRun(name, key)
      return
    }
    yield* warnOfMissed(plan)
    yield* Effect.forEach(rowsOf(plan, new Map()), (row) => Runs.write(transport, row, 0), { discard: true })
    yield* Runs.runs.remove(transport, next.dropped.map((key) => Runs.rowKey(name, key)))
  })

  /** Deals with jobs whose time has come. Afterwards `at` says when they are due again. */
  return Effect.fnUntraced(function*(entries: ReadonlyArray<Entry.Entry>) {
    const now = clock.now()
    const found = yield* State.states.read(transport, entries.map(({ definition }) => definition.name))
    const plans: Array<Plan> = []
    for (const [index, entry] of entries.entries()) {
      const one = yield* plan(entry, found[index]!, now)
      if (one !== undefined) plans.push(one)
    }
    const isInline = ({ entry }: Plan) => entry.definition.what._tag === "Execute"
    const inlines = plans.filter(isInline)
    const tasks = plans.filter((one) => !isInline(one))
    yield* Effect.forEach(inlines, claim, { concurrency, discard: true })
    if (tasks.length === 0) return
    const refused = yield* send(tasks)
    yield* Effect.forEach(tasks, (one) => record(one, refused), { concurrency, discard: true })
  })
}
