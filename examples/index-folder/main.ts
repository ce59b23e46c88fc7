/**
 * Indexes a folder: a job per file, a job per folder, a report.
 *
 * Producer and worker share this process, since the memory transport lives in
 * one. Nothing in tasks.ts and handlers.ts depends on that.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Client from "@troupe/core/Client"
import * as Worker from "@troupe/core/Worker"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Path from "effect/Path"
import * as References from "effect/References"
import * as Runtime from "effect/Runtime"
import { randomUUID } from "node:crypto"
import * as Flaky from "./flaky.ts"
import * as Format from "./format.ts"
import { HandlersLive } from "./handlers.ts"
import { Output } from "./output.ts"
import * as Progress from "./progress.ts"
import * as Report from "./report.ts"
import { IndexFile, IndexFolder, MakeReport, type Progress as Done } from "./tasks.ts"
import { transports } from "./transports.ts"

/** Ends the program with one line on standard error and exit code 1. */
class Failure extends Data.TaggedError("Failure")<{ readonly message: string }> {
  override readonly [Runtime.errorReported] = false
}

const known = [...transports.keys()].join(", ")

const config = {
  folder: Argument.String("folder").pipe(
    Argument.withDescription("What to index; this repository, if left out"),
    Argument.withDefault(`${import.meta.dirname}/../..`)
  ),
  transport: Flag.String("transport").pipe(
    Flag.withDescription(`The broker (default: memory; known: ${known})`),
    Flag.withDefault("memory")
  ),
  concurrency: Flag.Int("concurrency").pipe(
    Flag.withDescription("Files and folders read at once (default: 16)"),
    Flag.withDefault(16)
  ),
  flaky: Flag.Int("flaky").pipe(
    Flag.withDescription("Makes every n-th file fail once, to see retries; 0 for none"),
    Flag.withDefault(0)
  )
}

/** The folder as an absolute path, if it is one. */
const checkFolder = Effect.fnUntraced(function*(folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const absolute = path.resolve(folder)
  const { type } = yield* fs.stat(absolute).pipe(
    Effect.mapError(({ reason }) => new Failure({ message: `Cannot index ${absolute}: ${reason._tag}` }))
  )
  return type === "Directory" ? absolute : yield* new Failure({ message: `Cannot index ${absolute}: it is no folder` })
})

const checkTransport = (name: string) => {
  const transport = transports.get(name)
  return transport === undefined
    ? Effect.fail(new Failure({ message: `Unknown transport "${name}": this program knows ${known}` }))
    : Effect.succeed(transport)
}

/** Enqueues the folder and its report, and waits for the report. */
const index = Effect.fnUntraced(function*(folder: string, seen: (done: Done) => void) {
  const root = yield* IndexFolder.enqueue({ run: randomUUID(), path: folder })
  const report = yield* MakeReport.enqueue({ folder, root: root.id })
  yield* Progress.follow(report, seen)
  // interrupted: the report would wait for jobs that nobody runs any more
  return yield* Effect.onInterrupt(report.await, () => Effect.ignore(report.cancel))
}, Effect.scoped)

const run = Effect.fnUntraced(function*(input: {
  readonly folder: string
  readonly transport: string
  readonly concurrency: number
  readonly flaky: number
}) {
  const transport = yield* checkTransport(input.transport)
  const folder = yield* checkFolder(input.folder)
  const output = yield* Output
  const WorkerLive = Worker.layer({
    tasks: [IndexFolder, IndexFile, MakeReport],
    concurrency: input.concurrency,
    gracePeriod: "5 seconds"
  }).pipe(
    Layer.provide(HandlersLive),
    Layer.provide(input.flaky > 0 ? Flaky.layer(input.flaky) : Layer.empty),
    Layer.provideMerge(Client.layer),
    Layer.provideMerge(transport)
  )

  const startedAt = yield* Clock.currentTimeMillis
  let done: Done = { files: 0, folders: 0, unreadable: 0, bytes: 0 }
  const report = yield* output.write(
    `Indexing ${folder}, ${input.concurrency} at once, transport ${input.transport}\n`
  ).pipe(
    Effect.andThen(index(folder, (progress) => {
      done = progress
    })),
    Effect.provide(WorkerLive),
    // the worker has drained by now
    Effect.onInterrupt(() =>
      output.write(
        `Stopped: ${Format.count(done.files)} files and ${Format.count(done.folders)} folders are done, ` +
          `${Format.size(done.bytes)}. What waited is gone with the ${input.transport} transport.\n`
      )
    )
  )
  yield* output.write(Report.render(report, (yield* Clock.currentTimeMillis) - startedAt))
}, Effect.mapError(({ message }) => new Failure({ message })))

const command = Command.make("index-folder", config, run).pipe(
  Command.withDescription("Indexes a folder with Troupe: a job per file, a job per folder, a report")
)

const program = Effect.gen(function*() {
  const { closed } = yield* Output
  yield* Effect.raceFirst(Command.run(command, { version: "0.0.0" }), closed)
}).pipe(
  Effect.tapError((error) => error._tag === "Failure" ? Console.error(error.message) : Effect.void),
  Effect.provide([NodeServices.layer, Output.layer]),
  Effect.provideService(References.MinimumLogLevel, "Warn"),
  Effect.provideService(Logger.LogToStderr, true)
)

NodeRuntime.runMain(program)
