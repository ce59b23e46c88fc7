/**
 * `/live`: the process answers. `/ready`: the broker does, too.
 */
import { Transport } from "@troupe/core/Transport"
import * as Effect from "effect/Effect"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"

export const HealthLive = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const { clock, name } = yield* Transport
  const ready = Effect.match(Effect.timeout(clock, "1 second"), {
    onSuccess: () => HttpServerResponse.text(`connected to ${name}\n`),
    onFailure: () => HttpServerResponse.text(`${name} does not answer\n`, { status: 503 })
  })
  // asked every few seconds: no line in the log each time
  yield* router.add(
    "GET",
    "/live",
    HttpMiddleware.withLoggerDisabled(Effect.succeed(HttpServerResponse.text("live\n")))
  )
  yield* router.add("GET", "/ready", HttpMiddleware.withLoggerDisabled(ready))
}))
