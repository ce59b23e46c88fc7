/**
 * Why a layer of this package does not start.
 */
import * as Schema from "effect/Schema"

/**
 * There is a tracer already: spans of one job would go to two places, in pieces. `layer` is the one that is refused,
 * `found` what it met: another layer of this package, another tracer of Effect, or an SDK that somebody else registered.
 */
export class TracerConflict extends Schema.TaggedError<TracerConflict>()("TracerConflict", {
  layer: Schema.String,
  found: Schema.String
}) {
  override get message() {
    return `${this.layer} finds ${this.found}: an application has one tracer. Provide one of them, around everything`
  }
}

/** `@opentelemetry/sdk-node` cannot be loaded, or not be started. */
export class SdkUnavailable extends Schema.TaggedError<SdkUnavailable>()("SdkUnavailable", {
  reason: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `OpenTelemetry's SDK does not start: ${this.reason}`
  }
}
