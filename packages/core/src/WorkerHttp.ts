/**
 * What an operator asks a worker process over HTTP: `/live`, `/ready` and
 * `/metrics`.
 *
 * Provide it to the worker rather than beside it: then it is up before the
 * broker is, and answers until the last job is drained.
 *
 * Not part of the index: it loads Effect's HTTP server.
 */
import * as Effect from "effect/Effect"
import { TracerDisabledWhen } from "effect/http/HttpMiddleware"
import * as HttpRouter from "effect/http/HttpRouter"
import type { HttpServer } from "effect/http/HttpServer"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import { Health, type Report } from "./Health.ts"
import { nameOf } from "./internal/telemetry/prometheus.ts"

export interface Options {
  /** Answers 200 as long as the process and its event loop run. Default: `/live`. */
  readonly live?: HttpRouter.PathInput | undefined
  /** Answers 200 if the process is ready, as `Health` defines it, and else 503; the body says why. Default: `/ready`. */
  readonly ready?: HttpRouter.PathInput | undefined
  /**
   * All metrics of the process as Prometheus text. Those of Troupe have the names that Prometheus gives them when they
   * come by OTLP: `job_wait_duration_seconds`, `job_retries_total`. `false`: not served. Default: `/metrics`.
   */
  readonly metrics?: HttpRouter.PathInput | false | undefined
}

/** `since` as people read it. */
const dated = <A extends { readonly since: number }>(one: A) => ({ ...one, since: new Date(one.since).toISOString() })

const bodyOf = ({ clients, ready, reasons, workers }: Report) => ({
  status: ready ? "ready" : "not ready",
  ...(ready ? {} : { reasons }),
  workers: workers.map(({ id, queues }) => ({ id, queues: queues.map(dated) })),
  clients: clients.map(dated)
})

// a cache in between would answer for the process
const answer = (status: 200 | 503, body: object) =>
  HttpServerResponse.jsonUnsafe(body, { status, headers: { "cache-control": "no-store" } })

/** The routes, for a router of yours. */
export const layerRoutes = (options: Options = {}): Layer.Layer<never, never, HttpRouter.HttpRouter> => {
  const { live = "/live", metrics = "/metrics", ready = "/ready" } = options
  return Layer.mergeAll(
    HttpRouter.add("GET", live, Effect.succeed(answer(200, { status: "live" }))),
    HttpRouter.use((router) =>
      Effect.flatMap(Effect.service(Health), ({ report, watch }) => {
        watch()
        return router.add("GET", ready, Effect.map(report, (one) => answer(one.ready ? 200 : 503, bodyOf(one))))
      })
    ),
    metrics === false ? Layer.empty : PrometheusMetrics.layerHttp({ path: metrics, metricNameMapper: nameOf })
  )
}

/**
 * The routes on a server of their own: `Layer.provide(NodeHttpServer.layer(createServer, { port: 9464 }))`. Its requests
 * are neither logged nor traced.
 */
export const layer = (options?: Options): Layer.Layer<never, never, HttpServer> =>
  HttpRouter.serve(layerRoutes(options), { disableLogger: true }).pipe(
    Layer.provide(Layer.succeed(TracerDisabledWhen, () => true))
  )
