/**
 * Follows the tree of jobs from the root folder on: the result of a folder
 * names the jobs of what is in it. Each result is added up and let go.
 */
import * as Job from "@troupe/core/Job"
import type { JobFailed, JobNotFound } from "@troupe/core/JobError"
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

/** Who wants to know more than the totals. */
export interface Witness {
  /** A listing named this job: somebody enqueued it. */
  readonly accepted: (id: string) => void
  /** It has a record. */
  readonly finished: (id: string) => void
  /** It has neither a place nor a record. */
  readonly lost: (id: string) => void
  /** Every folder has been read: all jobs have been named. */
  readonly complete: () => void
}

const notFound = ({ id }: JobNotFound) =>
  new Unreadable({ path: `job ${id}`, reason: "the job is lost, or its record has expired", attempts: 0 })

/** What went wrong with one file or folder is part of the report; anything else ends it. */
const orCount = (id: string, totals: Totals, witness: Witness | undefined) => {
  const count = (error: Unreadable) => {
    witness?.finished(id)
    totals.addUnreadable(error)
  }
  return Effect.catch((error: Unreadable | Job.AwaitError) => {
    switch (error._tag) {
      case "Unreadable":
        return Effect.sync(() => count(error))
      case "JobFailed":
        return Effect.sync(() => count(fromJob(error)))
      case "JobNotFound":
        return Effect.sync(() => {
          witness?.lost(id)
          totals.addUnreadable(notFound(error))
        })
      default:
        return Effect.die(error)
    }
  })
}

export const collect = Effect.fnUntraced(function*(root: string, totals: Totals, witness?: Witness) {
  const files = yield* Queue.unbounded<string, Cause.Done>()

  const addFolder = Effect.fnUntraced(function*(id: string) {
    const job = yield* Job.fromId(IndexFolder, id)
    const listing = yield* job.await
    totals.addFolder(listing)
    if (witness !== undefined) {
      for (const named of listing.files) witness.accepted(named)
      for (const named of listing.folders) witness.accepted(named)
      witness.finished(id)
    }
    yield* Queue.offerAll(files, listing.files)
    return listing.folders
  })

  const addFile = Effect.fnUntraced(function*(id: string) {
    const job = yield* Job.fromId(IndexFile, id)
    totals.addFile(yield* job.await)
    witness?.finished(id)
  })

  const folders = Effect.gen(function*() {
    let level: ReadonlyArray<string> = [root]
    while (level.length > 0) {
      const below = yield* Effect.forEach(level, (id) => addFolder(id).pipe(orCount(id, totals, witness)), {
        concurrency
      })
      level = below.flatMap((ids) => ids ?? [])
    }
    witness?.complete()
    yield* Queue.end(files)
  })

  yield* Effect.all([
    folders,
    Stream.fromQueue(files).pipe(
      Stream.mapEffect((id) => addFile(id).pipe(orCount(id, totals, witness)), { concurrency, unordered: true }),
      Stream.runDrain
    )
    // a witness wants to know early how many there are
  ], { concurrency: witness === undefined ? "unbounded" : 1 })
})
