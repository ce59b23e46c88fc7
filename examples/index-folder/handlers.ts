/**
 * How it is done: one Layer per task. Files are read through the `FileSystem`
 * service, whatever provides it.
 */
import type { JobRef } from "@troupe/core/JobRef"
import type * as Task from "@troupe/core/Task"
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import type { PlatformError } from "effect/PlatformError"
import type * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { collect } from "./collect.ts"
import { Counts } from "./counts.ts"
import { Journal } from "./journal.ts"
import { IndexFile, IndexFolder, MakeReport, type Place, Unreadable } from "./tasks.ts"
import { Totals } from "./totals.ts"

const chunk = 64 * 1024

/** A folder of many files is handed on in parts: one call does not get too large for a broker. */
const batch = 500

const reasonOf = ({ reason }: PlatformError): string => {
  if (reason._tag !== "Unknown" || typeof reason.cause !== "object" || reason.cause === null) return reason._tag
  return "code" in reason.cause ? String(reason.cause.code) : reason._tag
}

const unreadable = (path: string, { attempt }: Task.Execution) =>
  Effect.mapError((error: PlatformError) => new Unreadable({ path, reason: reasonOf(error), attempts: attempt }))

type Items = ReadonlyArray<{ readonly payload: Place }>

/** Enqueues a job per path and answers the ids. A broker that refuses is a defect: it fails the attempt. */
const enqueueAll = Effect.fnUntraced(function*<E, R>(
  enqueueMany: (items: Items) => Effect.Effect<ReadonlyArray<Result.Result<JobRef, E>>, E, R>,
  run: string,
  paths: ReadonlyArray<string>
) {
  const ids: Array<string> = []
  for (const part of Arr.chunksOf(paths, batch)) {
    for (const job of yield* enqueueMany(part.map((path) => ({ payload: { run, path } })))) {
      ids.push((yield* Effect.fromResult(job)).id)
    }
  }
  return ids
}, Effect.orDie)

const IndexFolderLive = IndexFolder.toLayer(Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const note = yield* Journal

  /** Some file systems list names without types. */
  const typeOf = (entry: FileSystem.DirectoryEntry, at: string) =>
    entry.type !== "Unknown"
      ? Effect.succeed(entry.type)
      // whatever is wrong with it, its own job will say so
      : Effect.map(fs.lstat(at), (info) => info.type).pipe(Effect.orElseSucceed(() => "File" as const))

  return Effect.fnUntraced(function*({ path: folder, run }, execution) {
    yield* note(execution)
    const entries = yield* fs.readDirectoryEntries(folder).pipe(unreadable(folder, execution))
    const files: Array<string> = []
    const folders: Array<string> = []
    for (const entry of entries) {
      const at = path.join(folder, entry.name)
      const type = yield* typeOf(entry, at)
      if (type === "File") files.push(at)
      else if (type === "Directory") folders.push(at)
    }
    return {
      files: yield* enqueueAll((items) => IndexFile.enqueueMany(items), run, files),
      folders: yield* enqueueAll((items) => IndexFolder.enqueueMany(items), run, folders),
      skipped: entries.length - files.length - folders.length,
      attempts: execution.attempt
    }
  })
}))

const IndexFileLive = IndexFile.toLayer(Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const note = yield* Journal

  const count = Effect.fnUntraced(function*(path: string) {
    const counts = new Counts()
    // closed when the attempt ends: each has a scope of its own
    const file = yield* fs.open(path)
    const buffer = new Uint8Array(chunk)
    while (true) {
      const length = yield* file.read(buffer)
      if (length === 0) return counts
      counts.add(buffer.subarray(0, length))
    }
  })

  return Effect.fnUntraced(function*({ path }, execution) {
    yield* note(execution)
    const [time, counts] = yield* Effect.timed(count(path)).pipe(unreadable(path, execution))
    const { bytes, lines, sha256, words } = counts
    return { path, bytes, lines, words, sha256, millis: Duration.toMillis(time), attempts: execution.attempt }
  })
}))

const MakeReportLive = MakeReport.toLayer(Effect.gen(function*() {
  const path = yield* Path.Path
  const note = yield* Journal
  return Effect.fnUntraced(function*({ folder, root }, execution) {
    yield* note(execution)
    const totals = new Totals((file) => path.relative(folder, file))
    const announce = Effect.suspend(() => execution.progress(totals.progress))
    yield* announce.pipe(Effect.repeat(Schedule.spaced("100 millis")), Effect.forkScoped)
    yield* collect(root, totals)
    return totals.report
  })
}))

export const HandlersLive = Layer.mergeAll(IndexFolderLive, IndexFileLive, MakeReportLive)
