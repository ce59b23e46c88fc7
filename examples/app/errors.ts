/**
 * How requests can fail, beside the errors of the tasks.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { JobState } from "./models.ts"

export class PageNotFound extends Schema.TaggedError<PageNotFound>()("PageNotFound", {
  id: Schema.String
}, { httpApiStatus: 404 }) {}

export class PageTooLarge extends Schema.TaggedError<PageTooLarge>()("PageTooLarge", {
  bytes: Schema.Number,
  limit: Schema.Number
}, { httpApiStatus: 413 }) {}

/** It goes on: ask again. */
export class NotOver extends Schema.TaggedError<NotOver>()("NotOver", {
  id: Schema.String,
  state: Schema.Union([JobState, Schema.Literal("unknown")])
}, { httpApiStatus: 409 }) {}

/** There is no report and there will be none. */
export class Gone extends Schema.TaggedError<Gone>()("Gone", {
  id: Schema.String,
  state: JobState
}, { httpApiStatus: 410 }) {}

/** A bug, a timeout, …: the dead letter has the details. */
export class CheckFailed extends Schema.TaggedError<CheckFailed>()("CheckFailed", {
  id: Schema.String,
  reason: Schema.String,
  description: Schema.String
}, { httpApiStatus: 500 }) {}

/** The broker does not answer, or takes no more. */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {
  description: Schema.String
}, { httpApiStatus: 503 }) {}

export const toUnavailable = ({ message }: { readonly message: string }) => new Unavailable({ description: message })

export const unavailable = (error: TransportError) => Effect.fail(toUnavailable(error))
