/**
 * One scheduler: knows the jobs of the broker, sleeps until one of them is due,
 * and closes the history of what it has seen.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Schedule from "effect/Schedule"
import type { Client } from "../../Client.ts"
import type { EnqueueError } from "../../EnqueueError.ts"
import type { NewJob } from "../../EnqueueOptions.ts"
import type { Transport } from "../../Transport.ts"
import { TransportError } from "../../TransportError.ts"
import type { Ticket } from "../cronHeader.ts"
import * as Rows from "../rows.ts"
import * as BrokerClock from "./brokerClock.ts"
import { changesTopic, type Definition, definitions } from "./definition.ts"
import * as Dispatch from "./dispatch.ts"
import * as Entry from "./entry.ts"
import * as Inline from "./inline.ts"
import { lookUp } from "./lookup.ts"
import * as Processes from "./processes.ts"
import { requests } from "./requests.ts"
import * as Runs from "./runs.ts"
import { BadSchedule } from "./schedule.ts"
import * as State from "./state.ts"

export interface Scheduler {
  /** Gives what only code can say of a job, and writes or changes its definition. */
  readonly register: (
    code: Entry.Code | undefined,
    write: Effect.Effect<void, TransportError>,
    name: string
  ) => Effect.Effect<void, TransportError>
  readonly running: () => number
}

/** ms between two looks at all definitions: announcements may be lost. */
const reloadEvery = 60_000

/** ms between two looks at runs that nobody has closed. */
const repairEvery = 10_000

/** ms that a look at the broker is put off when it fails. */
const retryAfter = 500

/** Longest sleep, ms: timers have a limit, and clocks drift. */
const longestSleep = 60_000

/** Runs per job that a scheduler looks after when it starts. */
const lookBack = 3

/** Open runs that a scheduler looks after; others are closed when somebody asks for the history. */
const mostOpen = 10_000

export const make = Effect.fnUntraced(function*(options: {
  readonly transport: Transport["Service"]
  readonly client: Client["Service"]
  readonly id: string
  /** ms. */
  readonly gracePeriod: number
}) {
  const { client, id, transport } = options
  const clock = yield* BrokerClock.make(transport)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const inline = yield* Inline.make({ ...options, clock })
  const entries = new Map<string, Entry.Entry>()
  const codes = new Map<string, Entry.Code>()
  const open = new Map<string, { readonly name: string; readonly key: string }>()
  const changed = Latch.makeUnsafe(false)

  const onRun = (name: string, key: string) => {
    if (open.size < mostOpen) open.set(Runs.rowKey(name, key), { name, key })
  }
  const codeOf = (name: string) => codes.get(name)
  const dispatch = Dispatch.make({ transport, client, clock, inline, codeOf, onRun })

  /** Learns jobs, new or changed ones. */
  const learn = Effect.fnUntraced(function*(found: ReadonlyArray<Definition>) {
    const learned: Array<Entry.Entry> = []
    for (const definition of found) {
      const { name } = definition
      const known = entries.get(name)
      if (known !== undefined && JSON.stringify(known.definition) === JSON.stringify(definition)) continue
      entries.delete(name)
      if (!Entry.isActive(definition) || !Entry.isOurs(definition, codeOf(name))) continue
      try {
        const entry = Entry.make(definition)
        entries.set(name, entry)
        learned.push(entry)
      } catch (error) {
        if (!(error instanceof BadSchedule)) throw error
        yield* Effect.logError(`Cron job "${name}" cannot be scheduled here: ${error.message}`)
      }
    }
    const states = yield* State.states.read(transport, learned.map(({ definition }) => definition.name))
    for (const [index, entry] of learned.entries()) {
      const state = states[index]!.value
      // one without a cursor gets it from the next dispatch
      entry.at = state === undefined || state.spec !== entry.spec ? clock.now() : entry.next(state.cursor)
      for (const key of state?.runs.slice(0, lookBack) ?? []) onRun(entry.definition.name, key)
    }
    if (learned.length > 0) yield* changed.open
  })

  const reload = Effect.gen(function*() {
    const found = yield* Rows.listAll(definitions, transport)
    const names = new Set(found.map(({ key }) => key))
    for (const name of entries.keys()) if (!names.has(name)) entries.delete(name)
    yield* learn(found.map(({ value }) => value))
  })

  const reloadOne = Effect.fnUntraced(function*(name: string) {
    const { value } = yield* definitions.readOne(transport, name)
    if (value === undefined) entries.delete(name)
    else yield* learn([value])
  })

  /** Runs what somebody asked for, if the code for it is here. */
  const serveRequests = Effect.gen(function*() {
    if (codes.size === 0) return
    for (const { key, revision, value } of yield* Rows.listAll(requests, transport)) {
      const code = codeOf(value.name)
      if (code === undefined) continue
      const { value: definition } = yield* definitions.readOne(transport, value.name)
      if (definition === undefined) {
        yield* requests.claim(transport, key, revision)
        continue
      }
      const ticket = Entry.ticketOf(definition, value)
      // its id makes a repeat harmless: a process that dies in between loses nothing
      if (code.toJob !== undefined) yield* enqueue(code.toJob(value.tick), ticket)
      // nobody else runs what was taken: a scheduler that stops in this moment does
      yield* Effect.uninterruptible(Effect.map(requests.claim(transport, key, revision), (isOurs) => {
        if (!isOurs) return
        onRun(value.name, value.key)
        if (code.execute !== undefined) inline.start({ ticket, execute: code.execute, at: 0, expiresAt: undefined })
      }))
    }
  })

  const enqueue = (job: Effect.Effect<NewJob, EnqueueError>, ticket: Ticket) =>
    Effect.flatMap(job, (job) => client.sendOne(Entry.runOf(job, ticket, {}))).pipe(
      // what the function throws, and a payload that does not fit: that will not pass
      Effect.catchCause((cause) => {
        const error = Cause.squash(cause)
        if (error instanceof TransportError) return Effect.fail(error)
        const message = error instanceof Error ? error.message : String(error)
        return Runs.update(
          transport,
          ticket,
          (row) => row && { ...row, end: { status: "FAILED", at: clock.now(), reason: "InvalidPayload", message } }
        )
      })
    )

  const repairOpen = Effect.gen(function*() {
    const all = [...open]
    const wanted = all.flatMap(([, { key, name }]) => {
      const definition = entries.get(name)?.definition
      return definition === undefined ? [] : { definition, key }
    })
    const rows = yield* lookUp(transport, wanted)
    const still = new Set(rows.filter(Runs.isOpen).map(({ key, name }) => Runs.rowKey(name, key)))
    for (const [key] of all) if (!still.has(key)) open.delete(key)
  })

  const startedAt = clock.now()
  const beat = Effect.suspend(() =>
    Processes.schedulers.update(transport, id, () => ({
      id,
      startedAt,
      jobs: entries.size,
      running: inline.running()
    }))
  )

  const loop = Effect.gen(function*() {
    while (true) {
      changed.closeUnsafe()
      const now = clock.now()
      const due = [...entries.values()].filter(({ at }) => at !== undefined && at <= now)
      if (due.length > 0) {
        yield* dispatch(due)
        continue
      }
      let first = now + longestSleep
      for (const { at } of entries.values()) if (at !== undefined && at < first) first = at
      yield* Effect.raceFirst(changed.await, Effect.sleep(Math.ceil(first - clock.now())))
    }
  })

  const complain = (what: string) => (error: unknown) => Effect.logWarning(`The scheduler could not ${what}`, error)

  const periodically = (every: number, what: string, effect: Effect.Effect<unknown, TransportError>) =>
    Effect.forkScoped(
      Effect.repeat(
        Effect.andThen(Effect.sleep(every), Effect.catch(effect, complain(what))),
        Schedule.forever
      )
    )

  yield* beat
  yield* Effect.addFinalizer(() => Effect.ignore(Processes.schedulers.remove(transport, [id])))
  const text = new TextDecoder()
  yield* transport.bus.subscribe(changesTopic, ({ bytes }) => {
    const look = Effect.andThen(reloadOne(text.decode(bytes)), serveRequests)
    fork(Effect.catch(look, complain("read a change")))
  })
  yield* reload
  yield* periodically(Processes.beatEvery, "say that it is alive", Effect.andThen(clock.measure, beat))
  yield* periodically(reloadEvery, "read the jobs", Effect.andThen(reload, serveRequests))
  yield* periodically(repairEvery, "close runs", repairOpen)
  yield* Effect.forkScoped(
    Effect.retry(
      // a defect, too: it must not end the schedules of all others
      Effect.tapError(Effect.sandbox(loop), complain("enqueue due jobs")),
      Schedule.spaced(retryAfter)
    )
  )

  return {
    register: (code, write, name) =>
      Effect.suspend(() => {
        if (code !== undefined) codes.set(name, code)
        // what was known of it was learned without the code
        entries.delete(name)
        return Effect.andThen(write, Effect.andThen(reloadOne(name), serveRequests))
      }),
    running: inline.running
  } satisfies Scheduler
})
