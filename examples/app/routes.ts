/**
 * The API's endpoints over its services.
 */
import * as JobQueue from "@troupe/core/JobQueue"
import type { Transport } from "@troupe/core/Transport"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as Layer from "effect/Layer"
import { unavailable } from "./errors.ts"
import { Api } from "./http.ts"
import type { Submitted } from "./models.ts"
import { Pages } from "./pages.ts"
import { Schedules } from "./schedules.ts"

const accepted = (location: string) => (body: typeof Submitted.Type) =>
  HttpApiSchema.withHeaders({ body, headers: { location: location.replace(":id", encodeURIComponent(body.id)) } })

const PagesLive = HttpApiBuilder.group(
  Api,
  "pages",
  Effect.fnUntraced(function*(handlers) {
    const pages = yield* Pages
    return handlers.handleAll({
      submit: ({ headers, payload }) =>
        Effect.map(pages.submit(payload, headers["idempotency-key"]), accepted("/pages/:id")),
      status: ({ params }) => pages.status(params.id),
      report: ({ params, query }) => pages.report(params.id, `${query.wait ?? 0} seconds`),
      cancel: ({ params }) => pages.cancel(params.id),
      follow: ({ params }) => pages.follow(params.id),
      events: () => Effect.succeed(pages.events)
    })
  })
)

const SchedulesLive = HttpApiBuilder.group(
  Api,
  "schedules",
  Effect.fnUntraced(function*(handlers) {
    const schedules = yield* Schedules
    return handlers.handleAll({
      list: () => schedules.list,
      runs: ({ params, query }) => schedules.runs(params.name, { limit: query.limit ?? 20, cursor: query.cursor }),
      trigger: ({ params }) => Effect.map(schedules.trigger(params.name), accepted(`/schedules/${params.name}/runs`))
    })
  })
)

const SystemLive = HttpApiBuilder.group(
  Api,
  "system",
  Effect.fnUntraced(function*(handlers) {
    const context = yield* Effect.context<Transport>()
    return handlers.handleAll({
      queue: ({ params }) =>
        JobQueue.stats(params.queue).pipe(
          Effect.provideContext(context),
          Effect.map(({ oldestAge, ...stats }) => ({ ...stats, ...(oldestAge === undefined ? {} : { oldestAge }) })),
          Effect.catchTag("TransportError", unavailable)
        )
    })
  })
)

export const RoutesLive = HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }).pipe(
  Layer.provide([PagesLive, SchedulesLive, SystemLive]),
  Layer.provide([Pages.layer, Schedules.layer])
)
