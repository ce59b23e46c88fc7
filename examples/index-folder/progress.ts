/**
 * Shows how far the work is: a bar on a terminal, a line per second elsewhere.
 */
import type { Job } from "@troupe/core/Job"
import * as JobQueue from "@troupe/core/JobQueue"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Format from "./format.ts"
import { Output } from "./output.ts"
import * as Tasks from "./tasks.ts"

const decode = Schema.decodeUnknownOption(Tasks.Progress)

const barWidth = 30

const jobsOf = ({ files, folders, unreadable }: Tasks.Progress) => files + folders + unreadable

const text = (progress: Tasks.Progress, total: number, isTerminal: boolean): string => {
  const done = jobsOf(progress)
  const part = done / Math.max(1, total)
  const filled = Math.floor(part * barWidth)
  const bar = isTerminal ? `[${"#".repeat(filled)}${".".repeat(barWidth - filled)}] ` : ""
  const percent = `${Math.floor(part * 100)} %`.padStart(5)
  return `${bar}${percent}  ${Format.count(done)} of ${Format.count(total)} jobs  ` +
    `${Format.count(progress.folders)} folders  ${Format.size(progress.bytes)}`
}

/** What is known of the progress now; it is drawn until the scope closes. */
export const follow = Effect.fnUntraced(
  function*(report: Job<Tasks.Report, never>, seen: (progress: Tasks.Progress) => void) {
    const output = yield* Output
    let total = 0
    let latest: Tasks.Progress = { files: 0, folders: 0, bytes: 0, unreadable: 0 }

    yield* report.progress.pipe(
      Stream.runForEach((value) =>
        Effect.sync(() => {
          latest = Option.getOrElse(decode(value), () => latest)
          seen(latest)
        })
      ),
      Effect.ignore,
      Effect.forkScoped
    )

    const draw = Effect.gen(function*() {
      const { queued, running, scheduled } = yield* JobQueue.stats(Tasks.queue)
      // the report lags behind: jobs that are over and not yet in it are in neither number
      total = Math.max(total, jobsOf(latest) + queued + running + scheduled)
      const line = text(latest, total, output.isTerminal)
      yield* (output.isTerminal ? output.redraw(line.slice(0, output.columns() - 1)) : output.write(`${line}\n`))
    })
    const every = output.isTerminal ? "100 millis" : "1 second"
    yield* draw.pipe(Effect.delay(every), Effect.repeat(Schedule.forever), Effect.ignore, Effect.forkScoped)
    yield* Effect.addFinalizer(() => output.redraw(""))
  }
)
