/**
 * Indexes a folder: a job per file, a job per folder, a report.
 *
 * Producer and worker share this process, or with `--workers` there are many
 * worker processes, one of which is killed half-way. Nothing in tasks.ts and
 * handlers.ts depends on that.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Client from "@troupe/core/Client"
import * as JobQueue from "@troupe/core/JobQueue"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as References from "effect/References"
import { randomUUID } from "node:crypto"
import * as Brokers from "./broker.ts"
import * as Crew from "./crew.ts"
import * as Drill from "./drill.ts"
import { Failure } from "./failure.ts"
import * as Format from "./format.ts"
import * as Indexer from "./indexer.ts"
import { Output } from "./output.ts"
import * as Progress from "./progress.ts"
import * as Report from "./report.ts"
import { IndexFolder, MakeReport, type Progress as Done, queue } from "./tasks.ts"
import { temporary } from "./temporary.ts"
import { transports } from "./transports.ts"

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
  url: Flag.String("url").pipe(
    Flag.withDescription("The server of the broker; without one, and without one in the environment, a private server"),
    Flag.optional
  ),
  workers: Flag.Int("workers").pipe(
    Flag.withDescription(
      "Worker processes; with more than 1 one of them is killed half-way (default: 1, this process)"
    ),
    Flag.withDefault(1)
  ),
  concurrency: Flag.Int("concurrency").pipe(
    Flag.withDescription("Files and folders that a worker reads at once (default: 16)"),
    Flag.withDefault(16)
  ),
  flaky: Flag.Int("flaky").pipe(
    Flag.withDescription("Makes every n-th file fail once, to see retries; 0 for none"),
    Flag.withDefault(0)
  )
}

interface Input {
  readonly folder: string
  readonly transport: string
  readonly url: Option.Option<string>
  readonly workers: number
  readonly concurrency: number
  readonly flaky: number
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

/** The broker, if it can do what was asked for. */
const checkBroker = ({ concurrency, transport, url, workers }: Input) => {
  const refuse = (message: string) => Effect.fail(new Failure({ message }))
  const broker = transports.get(transport)
  if (broker === undefined) return refuse(`Unknown transport "${transport}": this program knows ${known}`)
  if (workers < 1) return refuse(`--workers ${workers}: at least 1 is needed`)
  if (concurrency < 1) return refuse(`--concurrency ${concurrency}: at least 1 is needed`)
  if (broker.remote !== undefined) return Effect.succeed(broker)
  const needs = "needs a broker between processes, such as --transport redis"
  if (workers > 1) return refuse(`The ${transport} transport lives in one process: --workers ${workers} ${needs}`)
  if (Option.isSome(url)) return refuse(`The ${transport} transport has no server: --url ${needs}`)
  return Effect.succeed(broker)
}

/** Enqueues the folder and its report, and waits for the report and for what goes on beside it. */
const index = Effect.fnUntraced(function*<A, E, R>(
  folder: string,
  seen: (done: Done) => void,
  beside: (jobs: Drill.Jobs) => Effect.Effect<A, E, R>
) {
  const root = yield* IndexFolder.enqueue({ run: randomUUID(), path: folder })
  const report = yield* MakeReport.enqueue({ folder, root: root.id })
  yield* Progress.follow(report, seen)
  return yield* Effect.all([report.await, beside({ root, report })], { concurrency: "unbounded" }).pipe(
    // interrupted: the report would wait for jobs that nobody runs any more
    Effect.onInterrupt(() => Effect.ignore(report.cancel))
  )
}, Effect.scoped)

/** How long it took, the report, and the account of a crash if the workers are processes of their own. */
const work = Effect.fnUntraced(function*(
  input: Input,
  folder: string,
  env: Brokers.Found["env"],
  seen: (done: Done) => void
) {
  if (input.workers === 1) {
    const alone = Effect.timed(index(folder, seen, () => Effect.undefined))
    return yield* Effect.provide(alone, Indexer.layer(input))
  }
  const directory = yield* temporary("journals")
  const crew = yield* Crew.start(input.workers, { ...input, directory }, env)
  return yield* Effect.timed(index(folder, seen, (jobs) => Drill.run(crew, jobs, directory))).pipe(
    Effect.provide(Client.layer),
    Effect.raceFirst(crew.deserted)
  )
}, Effect.scoped)

/** What is left of a run that was interrupted, after its workers have drained. */
const stopped = Effect.fnUntraced(function*(input: Input, isPrivate: boolean, done: Done) {
  const { write } = yield* Output
  // nobody waits for these any more
  const purged = isPrivate ? 0 : yield* Effect.orElseSucceed(JobQueue.purge(queue), () => 0)
  yield* write(
    `Stopped: ${Format.count(done.files)} files and ${Format.count(done.folders)} folders are done, ` +
      `${Format.size(done.bytes)}. ` + (isPrivate
        ? `What waited is gone with the ${input.transport} transport.\n`
        : `${Format.count(purged)} jobs that waited are cancelled.\n`)
  )
})

const run = Effect.fnUntraced(
  function*(input: Input) {
    const broker = yield* checkBroker(input)
    const folder = yield* checkFolder(input.folder)
    const { write } = yield* Output
    const found = yield* Brokers.find(broker, Option.getOrUndefined(input.url))
    const { concurrency, transport, workers } = input

    let done: Done = { files: 0, folders: 0, unreadable: 0, bytes: 0 }
    const seen = (progress: Done) => {
      done = progress
    }
    const crew = workers > 1 ? ` in each of ${workers} processes` : ""
    yield* write(`Indexing ${folder}, ${concurrency} at once${crew}, transport ${transport}${found.note}\n`)
    const [time, [report, account]] = yield* work(input, folder, found.env, seen).pipe(
      // the workers have drained by now
      Effect.onInterrupt(() => stopped(input, found.isPrivate, done)),
      Effect.provide(Brokers.layer(broker, found))
    )
    yield* write(Report.render(report, Duration.toMillis(time)))
    if (account === undefined) return
    yield* write(`${account.text}\n`)
    if (account.lost > 0) return yield* new Failure({ message: `${account.lost} jobs are lost` })
  },
  Effect.scoped,
  Effect.mapError(({ message }) => new Failure({ message }))
)

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
