/**
 * What there is to do: definitions only. A producer imports this file and no
 * handler.
 */
import * as Task from "@troupe/core/Task"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"

/** Where the jobs that read files and folders wait. */
export const queue = "index"

/** A file or folder could not be read. */
export class Unreadable extends Schema.TaggedError<Unreadable>()("Unreadable", {
  path: Schema.String,
  /** What the operating system said: `NotFound`, `PermissionDenied`, `EIO`, … */
  reason: Schema.String,
  attempts: Schema.Number
}) {
  override get message() {
    return `${this.path}: ${this.reason}`
  }
}

/** What one file comes to, counted like `wc` counts. */
export const FileFacts = Schema.Struct({
  path: Schema.String,
  bytes: Schema.Number,
  /** Line feeds. */
  lines: Schema.Number,
  /** Runs of bytes that are no ASCII white space. */
  words: Schema.Number,
  /** In hexadecimal digits. */
  sha256: Schema.String,
  millis: Schema.Number,
  attempts: Schema.Number
})
export type FileFacts = typeof FileFacts.Type

/** What a folder holds: the ids of the jobs that read it on. */
export const Listing = Schema.Struct({
  files: Schema.Array(Schema.String),
  folders: Schema.Array(Schema.String),
  /** Symbolic links, sockets, devices: not followed, not read. */
  skipped: Schema.Number,
  attempts: Schema.Number
})
export type Listing = typeof Listing.Type

/** How far the report is. */
export const Progress = Schema.Struct({
  files: Schema.Number,
  folders: Schema.Number,
  unreadable: Schema.Number,
  bytes: Schema.Number
})
export type Progress = typeof Progress.Type

export const Report = Schema.Struct({
  ...Progress.fields,
  lines: Schema.Number,
  words: Schema.Number,
  skipped: Schema.Number,
  /** Files and folders that took more than one attempt. */
  retried: Schema.Number,
  /** One number for all paths and contents, in whatever order they were read. */
  checksum: Schema.String,
  largest: Schema.Array(FileFacts),
  slowest: Schema.Array(FileFacts),
  /** The first few of the unreadable. */
  failures: Schema.Array(Unreadable)
})
export type Report = typeof Report.Type

/** A file or folder, in the run that it is read in. */
const Place = Schema.Struct({ run: Schema.String, path: Schema.String })
export type Place = typeof Place.Type

const policy = {
  payload: Place,
  error: Unreadable,
  queue,
  maxAttempts: 3,
  retry: Schedule.exponential("200 millis"),
  // a folder that is listed twice, after a crash, adds no second job per entry
  idempotencyKey: ({ path, run }: Place) => `${run}:${path}`,
  // the report reads a result as soon as it is there; the time is for a report that has to start anew
  resultTimeToLive: "10 minutes"
} as const

export class IndexFolder extends Task.make("IndexFolder", {
  ...policy,
  success: Listing,
  // folders before files: then the number of files is known early
  priority: "high"
}) {}

export class IndexFile extends Task.make("IndexFile", {
  ...policy,
  success: FileFacts,
  // a file on a drive that does not answer must not hold up the report for ever
  timeout: "5 minutes"
}) {}

export class MakeReport extends Task.make("MakeReport", {
  payload: {
    folder: Schema.String,
    /** The job of the folder itself. */
    root: Schema.String
  },
  success: Report,
  // it waits for jobs of the other queue: with a queue of its own it takes none of their slots
  queue: "report"
}) {}
