/**
 * Follows the tree of jobs from the root folder on: the result of a folder
 * names the jobs of what is in it. Each result is added up and let go.
 */
import * as Job from "@troupe/core/Job"
import type { JobFailed } from "@troupe/core/JobError"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { IndexFile, IndexFolder, Unreadable } from "./tasks.ts"
import type { Totals } from "./totals.ts"

/** Results awaited at once. */
const concurrency = 128

/** A job that ended without an error of its own, such as a timeout, has no path to show. */
const fromJob = ({ attempts, description, id }: JobFailed) =>
  new Unreadable({ path: `job ${id}`, reason: description, attempts })

/** What went wrong with one file or folder is part of the report; anything else ends it. */
const orCount = (totals: Totals) =>
  Effect.catch((error: Unreadable | Job.AwaitError) =>
    error._tag === "Unreadable"
      ? Effect.sync(() => totals.addUnreadable(error))
      : error._tag === "JobFailed"
      ? Effect.sync(() => totals.addUnreadable(fromJob(error)))
      : Effect.die(error)
  )

export const collect = Effect.fnUntraced(function*(root: string, totals: Totals) {
  const files = yield* Queue.unbounded<string, Cause.Done>()

  const addFolder = Effect.fnUntraced(function*(id: string) {
    const job = yield* Job.fromId(IndexFolder, id)
    const listing = yield* job.await
    totals.addFolder(listing)
    yield* Queue.offerAll(files, listing.files)
    return listing.folders
  })

  const addFile = Effect.fnUntraced(function*(id: string) {
    const job = yield* Job.fromId(IndexFile, id)
    totals.addFile(yield* job.await)
  })

  const folders = Effect.gen(function*() {
    let level: ReadonlyArray<string> = [root]
    while (level.length > 0) {
      const below = yield* Effect.forEach(level, (id) => addFolder(id).pipe(orCount(totals)), { concurrency })
      level = below.flatMap((ids) => ids ?? [])
    }
    yield* Queue.end(files)
  })

  yield* Effect.all([
    folders,
    Stream.fromQueue(files).pipe(
      Stream.mapEffect((id) => addFile(id).pipe(orCount(totals)), { concurrency, unordered: true }),
      Stream.runDrain
    )
  ], { concurrency: "unbounded" })
})
