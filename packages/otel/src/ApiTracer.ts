/**
 * Spans of Effect in the SDK that the application started itself.
 */
import * as Api from "@opentelemetry/api"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Bridge from "./internal/bridge.ts"
import * as Globals from "./internal/globals.ts"
import * as OnlyTracer from "./internal/onlyTracer.ts"
import type { TracerConflict } from "./OtelError.ts"

const warning =
  "No OpenTelemetry SDK is registered, so no span is recorded. Start it before this layer, and see to it " +
  "that there is one copy of @opentelemetry/api (npm ls @opentelemetry/api)"

/**
 * Over the globals of `@opentelemetry/api`, generation 2 or 3 of the SDK: start it before this layer is built.
 *
 * A span has its attributes, kind and links when it begins, so that samplers see them. Success leaves its status unset;
 * a failure sets it to error, with `error.type` and the exceptions; an interruption is none. While a fiber runs, its
 * span is OpenTelemetry's current one: calls of instrumented clients become its children. A span without a parent in
 * Effect becomes a child of the current span of its surroundings, such as the request of an instrumented server, unless
 * it was begun with `root`.
 *
 * Without an SDK it logs a warning, and goes on: spans are recorded from when one is registered.
 */
export const layer = (): Layer.Layer<never, TracerConflict> =>
  OnlyTracer.layer(
    "Otel.layer",
    Effect.gen(function*() {
      if (!Globals.hasTracer()) yield* Effect.logWarning(warning)
      return Bridge.make(Api.trace.getTracer(Globals.scope))
    })
  )
