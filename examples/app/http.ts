/**
 * The API as a value: the server implements it, clients are made of it, and
 * `/openapi.json` shows it.
 */
import { CronJobNotFound } from "@troupe/core/CronError"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { CheckFailed, Gone, NotOver, PageNotFound, PageTooLarge, Unavailable } from "./errors.ts"
import { AnyEvent, PageEvent, PageStatus, QueueStats, Runs, Schedule, Standing, Submitted } from "./models.ts"
import { Audit, CheckPage, EmptyPage, Page, Report, UnclosedFence } from "./tasks.ts"

/** 202, and where to look from now on. */
const Accepted = HttpApiSchema.WithHeaders(Submitted.pipe(HttpApiSchema.status(202)), { location: Schema.String })

const id = { id: Schema.String }

const pages = HttpApiGroup.make("pages").add(
  HttpApiEndpoint.post("submit", "/pages", {
    headers: {
      // not of the form that the service gives to jobs of its own
      "idempotency-key": Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[\w-]{1,64}$/)))
    },
    payload: Page,
    success: Accepted,
    error: [PageTooLarge, Unavailable]
  }),
  HttpApiEndpoint.get("status", "/pages/:id", { params: id, success: PageStatus, error: [PageNotFound, Unavailable] }),
  HttpApiEndpoint.get("report", "/pages/:id/report", {
    params: id,
    /** Seconds. */
    query: { wait: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30 }))) },
    success: Report,
    error: [EmptyPage, UnclosedFence, NotOver, Gone, CheckFailed, PageNotFound, Unavailable]
  }),
  HttpApiEndpoint.delete("cancel", "/pages/:id", {
    params: id,
    success: Standing,
    error: [PageNotFound, Unavailable]
  }),
  HttpApiEndpoint.get("follow", "/pages/:id/events", {
    params: id,
    success: HttpApiSchema.StreamSse({ data: PageEvent, error: Unavailable }),
    error: [PageNotFound, Unavailable]
  }),
  HttpApiEndpoint.get("events", "/events", {
    success: HttpApiSchema.StreamSse({ data: AnyEvent, error: Unavailable })
  })
)

const name = { name: Schema.String }
const NoSchedule = CronJobNotFound.pipe(HttpApiSchema.status(404))

const schedules = HttpApiGroup.make("schedules").add(
  HttpApiEndpoint.get("list", "/schedules", { success: Schema.Array(Schedule), error: Unavailable }),
  HttpApiEndpoint.get("runs", "/schedules/:name/runs", {
    params: name,
    query: {
      limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 }))),
      cursor: Schema.optionalKey(Schema.String)
    },
    success: Runs,
    error: Unavailable
  }),
  HttpApiEndpoint.post("trigger", "/schedules/:name/runs", {
    params: name,
    success: Accepted,
    error: [NoSchedule, Unavailable]
  })
)

const system = HttpApiGroup.make("system", { topLevel: true }).add(
  HttpApiEndpoint.get("queue", "/queues/:queue", {
    params: { queue: Schema.Literals([CheckPage.queue, Audit.queue]) },
    success: QueueStats,
    error: Unavailable
  })
)

export const Api = HttpApi.make("proofread").add(pages, schedules, system).annotateMerge(OpenApi.annotations({
  title: "Proofread",
  description: "Proofreads pages of Markdown"
}))
