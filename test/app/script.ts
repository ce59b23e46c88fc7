/**
 * The same calls for every transport. What they answer does not depend on it:
 * ids and times are left out.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { AnyEvent } from "../../examples/app/models.ts"
import { type Client, pageOf, pages, until } from "./client.ts"

const report = (client: Client, id: string) => client.pages.report({ params: { id }, query: { wait: 30 } })

/** Takes a page in, and says where to find it. */
const submit = (client: Client, page: { readonly name: string; readonly text: string }, key?: string) =>
  client.pages.submit({ payload: page, headers: key === undefined ? {} : { "idempotency-key": key } })

/** Events of one page, without id and time. */
const told = ({ _tag, value }: { readonly _tag: string; readonly value?: unknown }) =>
  value === undefined ? _tag : `${_tag} ${JSON.stringify(value)}`

const proofread = Effect.fnUntraced(function*(client: Client) {
  const accepted = yield* Effect.forEach(pages, (page) => submit(client, page), { concurrency: 4 })
  const located = accepted.every(({ body, headers }) => headers.location === `/pages/${body.id}` && !body.duplicate)
  const reports = yield* Effect.forEach(accepted, ({ body }) => report(client, body.id), { concurrency: 4 })
  const { attempts, finishedAt, state } = yield* client.pages.status({ params: accepted[0]!.body })
  return { located, reports, status: { attempts, state, isFinished: finishedAt !== undefined } }
})

const refusals = Effect.fnUntraced(function*(client: Client) {
  const refused = Effect.fnUntraced(function*(text: string) {
    const { body } = yield* submit(client, { name: "refused", text })
    return yield* Effect.flip(report(client, body.id))
  })
  return {
    empty: yield* refused(" \n"),
    unclosed: yield* refused("# Code\n\n```ts\nlet x"),
    tooLarge: (yield* Effect.flip(submit(client, { name: "large", text: "x".repeat(1_100_000) })))._tag,
    unknown: yield* Effect.flip(client.pages.status({ params: { id: "unknown" } })),
    unknownReport: yield* Effect.flip(report(client, "unknown")),
    unknownCancel: yield* Effect.flip(client.pages.cancel({ params: { id: "unknown" } })),
    unknownSchedule: yield* Effect.flip(client.schedules.trigger({ params: { name: "unknown" } }))
  }
})

const twice = Effect.fnUntraced(function*(client: Client) {
  const page = pageOf("twice", 2)
  const first = yield* submit(client, page, "key-1")
  const second = yield* submit(client, page, "key-1")
  yield* report(client, "key-1")
  const afterwards = yield* submit(client, page, "key-1")
  return [first, second, afterwards].map(({ body }) => body)
})

const cancelled = Effect.fnUntraced(function*(client: Client) {
  const { body } = yield* submit(client, pageOf("endless", 5_000), "long")
  const params = { id: body.id }
  yield* until(client.pages.status({ params }), ({ state }) => state === "running")
  const early = yield* Effect.flip(client.pages.report({ params, query: {} }))
  const answer = yield* client.pages.cancel({ params })
  const afterwards = yield* Effect.flip(report(client, body.id))
  return { early, answer, afterwards, again: yield* client.pages.cancel({ params }) }
})

const followed = Effect.fnUntraced(function*(client: Client) {
  const { body } = yield* submit(client, pageOf("followed", 5_000))
  const events = yield* client.pages.follow({ params: body })
  let isKnown = false
  const seen = yield* events.pipe(
    // events may be lost, and the first ones are until the worker knows that somebody listens: the end is not
    Stream.tap((event) => {
      if (event._tag !== "Progress" || isKnown) return Effect.void
      isKnown = true
      return client.pages.cancel({ params: body })
    }),
    Stream.runCollect
  )
  const progress = seen.find(({ _tag }) => _tag === "Progress")
  const last = seen.at(-1)
  return { first: seen[0]?._tag, progress: Object.keys(progress ?? {}), last: last?._tag === "Over" && last.state }
})

const listened = Effect.fnUntraced(function*(client: Client) {
  const events = yield* Queue.unbounded<typeof AnyEvent.Type>()
  const stream = yield* client.pages.events()
  yield* Effect.forkScoped(Stream.runForEach(stream, (event) => Queue.offer(events, event)))
  const first = yield* Queue.take(events)
  const next = Effect.flatMap(
    Queue.take(events),
    (event) => event._tag === "Listening" ? Effect.die("twice") : Effect.succeed(event)
  )

  // API and worker tell once they have heard of a listener
  const noise = yield* submit(client, pageOf("noise", 1)).pipe(
    Effect.delay("100 millis"),
    Effect.forever,
    Effect.forkScoped
  )
  for (const tag of ["Enqueued", "Succeeded"]) yield* until(next, ({ _tag }) => _tag === tag)
  yield* Fiber.interrupt(noise)

  const eventsOfOne = Effect.gen(function*() {
    const { body } = yield* submit(client, pageOf("listened", 3))
    const lines: Array<string> = []
    while (!lines.includes("Succeeded")) {
      const event = yield* next
      if (event.id === body.id) lines.push(told(event))
    }
    return lines.toSorted()
  })
  // at most once: what a process that stood still has missed is told of another page
  const lines = yield* Effect.timeoutOrElse(eventsOfOne, {
    duration: "10 seconds",
    orElse: () => Effect.succeed<ReadonlyArray<string>>([])
  }).pipe(Effect.repeat({ until: (lines) => lines.length === 6, times: 5 }))
  return { first: first._tag, lines }
}, Effect.scoped)

const audited = Effect.fnUntraced(function*(client: Client) {
  const [schedule] = yield* until(client.schedules.list(), (schedules) => schedules.length > 0)
  const { body, headers } = yield* client.schedules.trigger({ params: { name: "audit" } })
  const runs = client.schedules.runs({ params: { name: "audit" }, query: { limit: 5 } })
  const { items } = yield* until(
    runs,
    ({ items }) => items.some(({ id, status }) => id === body.id && status === "COMPLETED")
  )
  const [{ attempt, execution, name, status, trigger, value } = undefined!] = items
  const last = (yield* client.schedules.list())[0]?.last?.id === body.id
  return {
    schedule: schedule?.schedule,
    hasNext: schedule?.next !== undefined,
    location: headers.location,
    run: { name, trigger, status, execution, attempt, value },
    last
  }
})

export const script = Effect.fnUntraced(function*(client: Client) {
  const parts = yield* Effect.all({
    proofread: proofread(client),
    refusals: refusals(client),
    twice: twice(client),
    cancelled: cancelled(client),
    followed: followed(client),
    listened: listened(client),
    audited: audited(client)
  }, { concurrency: "unbounded" })
  const stats = (queue: "pages" | "audits") =>
    // what was settled last may still count as running for a moment
    until(client.queue({ params: { queue } }), ({ queued, running }) => queued + running === 0)
  return { ...parts, queues: { pages: yield* stats("pages"), audits: yield* stats("audits") } }
})

export type Answers = Effect.Success<ReturnType<typeof script>>
