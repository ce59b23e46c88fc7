/**
 * What the service understands: the API, the workers and the scheduler import
 * this, and only the workers have handlers for it.
 */
import * as Task from "@troupe/core/Task"
import * as Schema from "effect/Schema"

/** A text of Markdown with a name to call it by. */
export const Page = Schema.Struct({
  name: Schema.NonEmptyString.check(Schema.isMaxLength(100)),
  text: Schema.String
})

export const Problem = Schema.Struct({
  /** From 1. */
  line: Schema.Number,
  kind: Schema.Literals(["broken anchor", "doubled word", "skipped level", "same heading"]),
  text: Schema.String
})
export type Problem = typeof Problem.Type

export const Report = Schema.Struct({
  name: Schema.String,
  sha256: Schema.String,
  words: Schema.Number,
  /** To read it, at 200 words a minute. */
  minutes: Schema.Number,
  sections: Schema.Number,
  links: Schema.Struct({ inside: Schema.Number, outside: Schema.Number }),
  problems: Schema.Array(Problem)
})
export type Report = typeof Report.Type

// the status is for the API: what a task fails with is what a request fails with
export class EmptyPage extends Schema.TaggedError<EmptyPage>()("EmptyPage", {
  name: Schema.String
}, { httpApiStatus: 422 }) {
  override get message() {
    return `Page "${this.name}" has no text`
  }
}

/** Everything after it would be code. */
export class UnclosedFence extends Schema.TaggedError<UnclosedFence>()("UnclosedFence", {
  name: Schema.String,
  line: Schema.Number
}, { httpApiStatus: 422 }) {
  override get message() {
    return `The code block of page "${this.name}" that begins in line ${this.line} does not end`
  }
}

/** Proofreads one page. Reports `{ read, of }` after each section. */
export class CheckPage extends Task.make("CheckPage", {
  payload: Page,
  success: Report,
  error: Schema.Union([EmptyPage, UnclosedFence]),
  queue: "pages",
  // what is wrong with a page stays wrong; a crash of a worker is no attempt
  maxAttempts: 1,
  timeout: "5 minutes",
  expiresIn: "1 hour"
}) {}

export class FolderUnreadable extends Schema.TaggedError<FolderUnreadable>()("FolderUnreadable", {
  folder: Schema.String,
  reason: Schema.String
}) {}

/** Proofreads the pages of the folder that the workers have, a job each. */
export class Audit extends Task.make("Audit", {
  success: Schema.Struct({
    pages: Schema.Number,
    words: Schema.Number,
    problems: Schema.Number,
    /** Pages that cannot be proofread. */
    refused: Schema.Number
  }),
  error: FolderUnreadable,
  // it waits for jobs of the other queue: in the same one it would keep them from slots
  queue: "audits",
  maxAttempts: 3
}) {}
