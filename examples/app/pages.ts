/**
 * Tasks as a service: what the API knows of pages. That there is a queue behind
 * it shows in the Layer only.
 */
import * as Client from "@troupe/core/Client"
import type { EnqueueError } from "@troupe/core/EnqueueError"
import * as Job from "@troupe/core/Job"
import type { JobNotFound } from "@troupe/core/JobError"
import * as JobEvents from "@troupe/core/JobEvents"
import type { Transport } from "@troupe/core/Transport"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Closing, endAtClose } from "./closing.ts"
import * as Errors from "./errors.ts"
import type { AnyEvent, PageEvent, PageStatus, Standing, Submitted } from "./models.ts"
import { CheckPage, type EmptyPage, type Page, type Report, type UnclosedFence } from "./tasks.ts"

type Found<A, E = never> = Effect.Effect<A, E | Errors.PageNotFound | Errors.Unavailable>

export class Pages extends Context.Service<Pages, {
  /** A chosen id makes it safe to submit again: the same id is the same job while its record lives. */
  readonly submit: (
    page: typeof Page.Type,
    id: string | undefined
  ) => Effect.Effect<typeof Submitted.Type, Errors.PageTooLarge | Errors.Unavailable>
  readonly status: (id: string) => Found<typeof PageStatus.Type>
  /** Waits for it, for at most so long. */
  readonly report: (
    id: string,
    wait: Duration.Input
  ) => Found<Report, EmptyPage | UnclosedFence | Errors.NotOver | Errors.Gone | Errors.CheckFailed>
  /** Answers what stands: `cancelled`, or what was first. */
  readonly cancel: (id: string) => Found<typeof Standing.Type>
  /** What happens to one page, until it is over. */
  readonly follow: (id: string) => Found<Stream.Stream<typeof PageEvent.Type, Errors.Unavailable>>
  /** What happens to all pages. */
  readonly events: Stream.Stream<typeof AnyEvent.Type, Errors.Unavailable>
}>()("app/Pages") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      const context = yield* Effect.context<Client.Client | Transport>()
      const closing = yield* Closing
      const job = (id: string) => Effect.provideContext(Job.fromId(CheckPage, id), context)
      const unfound = {
        JobNotFound: ({ id }: JobNotFound) => Effect.fail(new Errors.PageNotFound({ id })),
        TransportError: Errors.unavailable
      }

      const status = Effect.fnUntraced(function*(id: string) {
        const { attempts, enqueuedAt, finishedAt, state } = yield* (yield* job(id)).info
        return {
          id,
          state,
          attempts,
          ...(enqueuedAt === undefined ? {} : { enqueuedAt }),
          ...(finishedAt === undefined ? {} : { finishedAt })
        }
      }, Effect.catchTags(unfound))

      return Pages.of({
        submit: (page, id) =>
          CheckPage.enqueue(page, { id }).pipe(
            Effect.provideContext(context),
            Effect.map(({ duplicate, id }) => ({ id, duplicate })),
            Effect.catchTags({
              TransportError: Errors.unavailable,
              EnqueueError: ({ reason }: EnqueueError) =>
                reason._tag === "PayloadTooLarge"
                  ? Effect.fail(new Errors.PageTooLarge({ bytes: reason.bytes, limit: reason.limit }))
                  : Effect.die(reason)
            })
          ),
        status,
        report: (id, wait) =>
          Effect.flatMap(job(id), (job) => job.awaitWithin(wait)).pipe(
            Effect.catchTags({
              AwaitTimeout: ({ state }) => Effect.fail(new Errors.NotOver({ id, state })),
              JobCancelled: () => Effect.fail(new Errors.Gone({ id, state: "cancelled" })),
              JobExpired: () => Effect.fail(new Errors.Gone({ id, state: "expired" })),
              ResultExpired: ({ state }) => Effect.fail(new Errors.Gone({ id, state })),
              JobFailed: ({ description, reason }) => Effect.fail(new Errors.CheckFailed({ id, reason, description })),
              ResultUnreadable: ({ description }) =>
                Effect.fail(new Errors.CheckFailed({ id, reason: "Unreadable", description }))
            }),
            Effect.catchTags(unfound)
          ),
        cancel: (id) =>
          Effect.flatMap(job(id), (job) => job.cancel).pipe(
            Effect.map((state) => ({ id, state })),
            Effect.catchTags(unfound)
          ),
        follow: Effect.fnUntraced(function*(id) {
          const { state } = yield* status(id)
          // events may be lost, the record is not: it ends the stream
          const over = Effect.flatMap(job(id), (job) => job.awaitRecord).pipe(
            Effect.map(({ state }) => ({ _tag: "Over" as const, id, state }))
          )
          return Stream.make({ _tag: "Now" as const, id, state }).pipe(
            Stream.concat(Stream.merge(
              Stream.provideContext(JobEvents.stream({ queue: CheckPage.queue, id }), context),
              Stream.fromEffect(over)
            )),
            Stream.takeUntil((event) => event._tag === "Over"),
            Stream.mapError(Errors.toUnavailable),
            endAtClose(closing)
          )
        }),
        events: Stream.make({ _tag: "Listening" as const }).pipe(
          Stream.concat(Stream.provideContext(JobEvents.stream({ queue: CheckPage.queue }), context)),
          Stream.mapError(Errors.toUnavailable),
          endAtClose(closing)
        )
      })
    })
  ).pipe(Layer.provide(Client.layer))
}
