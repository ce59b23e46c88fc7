/**
 * A worker process that is told to misbehave: `node program.ts <mode>`. It says
 * what happens on stderr, one line each; stdout is the logger's.
 */
import * as Client from "@troupe/core/Client"
import * as JobQueue from "@troupe/core/JobQueue"
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as Task from "@troupe/core/Task"
import * as Worker from "@troupe/core/Worker"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { writeSync } from "node:fs"

const say = (line: string) => void writeSync(2, `${line}\n`)
const note = (line: string) => Effect.sync(() => say(line))

// none of them keeps the process alive: a tick is heard only while something else does
setInterval(() => say("tick"), 250).unref()
process.on("unhandledRejection", (reason) => say(`unhandled rejection: ${String(reason)}`))

/** Something that is acquired and must be released. */
const resource = (name: string, release: Effect.Effect<void> = Effect.void) =>
  Layer.effectDiscard(
    Effect.acquireRelease(note(`acquired ${name}`), () => Effect.andThen(release, note(`released ${name}`)))
  )

class NoDatabase
  extends Schema.TaggedError<NoDatabase>()("NoDatabase", { host: Schema.String, cause: Schema.Defect() })
{
  override get message() {
    return `No database answers at ${this.host}`
  }
}

/** Without a message, like those of Effect's servers. */
class ServerError extends Schema.TaggedError<ServerError>()("ServerError", { cause: Schema.Defect() }) {}

const Job = Task.make("Job", { payload: Schema.String })

/** Runs until the end of the job's time: `short`, `endless` or `stuck`. */
const handler = (payload: string) =>
  Effect.gen(function*() {
    yield* Effect.addFinalizer(() => note(`finalized ${payload}`))
    yield* note(`started ${payload}`)
    yield* payload === "short"
      ? Effect.sleep(400)
      : payload === "stuck"
      ? Effect.uninterruptible(Effect.never)
      : Effect.never
    yield* note(`finished ${payload}`)
  }).pipe(Effect.onInterrupt(() => note(`interrupted ${payload}`)))

/** Enqueues one job once the worker runs; at the very end says where the jobs are. */
const work = (payload: string, options: { readonly gracePeriod: number }) => {
  // a lease that a machine which stands still does not outlast: the job would start again
  const worker = Worker.layer({ tasks: [Job], ...options, idleTimeout: "1 minute" }).pipe(
    Layer.provide(Job.toLayer(handler)),
    Layer.provide(resource("handlers"))
  )
  const enqueue = Layer.effectDiscard(Job.enqueue(payload))
  const last = Layer.effectDiscard(Effect.acquireRelease(Effect.void, () =>
    Effect.flatMap(
      Effect.orDie(JobQueue.stats("default")),
      ({ queued, running }) => note(`left: ${queued} queued, ${running} running`)
    )))
  return enqueue.pipe(Layer.provideMerge(worker), Layer.provideMerge(Layer.merge(Client.layer, last)))
}

const modes = {
  idle: () => Worker.layer({ tasks: [Job] }).pipe(Layer.provide(Job.toLayer(handler))),
  short: () => work("short", { gracePeriod: 30_000 }),
  /** Who told it to stop does so once more, as soon as it has heard of it. */
  twice: () => {
    process.once("SIGINT", () => setTimeout(() => process.kill(process.pid, "SIGTERM"), 1))
    return work("short", { gracePeriod: 30_000 })
  },
  released: () => work("endless", { gracePeriod: 300 }),
  endless: () => work("endless", { gracePeriod: 60_000 }),
  stuckHandler: () => work("stuck", { gracePeriod: 60_000 }),
  stuckFinalizer: () =>
    resource("stuck", Effect.never).pipe(Layer.provideMerge(work("endless", { gracePeriod: 60_000 }))),
  building: () =>
    Layer.effectDiscard(Effect.andThen(note("building"), Effect.never)).pipe(Layer.provideMerge(resource("first"))),
  buildingStuck: () =>
    Layer.effectDiscard(Effect.andThen(note("building"), Effect.never)).pipe(
      Layer.provideMerge(resource("first", Effect.never))
    ),
  failing: () =>
    Layer.effectDiscard(
      Effect.fail(
        new NoDatabase({ host: "db.example:5432", cause: new Error("connect ECONNREFUSED\n  at the socket") })
      )
    ).pipe(Layer.provideMerge(resource("first"))),
  nameless: () => Layer.effectDiscard(Effect.fail(new ServerError({ cause: new Error("listen EADDRINUSE") }))),
  invalid: () => Worker.layer({ tasks: [Job], concurrency: 0 }).pipe(Layer.provide(Job.toLayer(handler))),
  defect: () => Layer.effectDiscard(Effect.sync(() => explode())),
  interrupted: () => Layer.effectDiscard(Effect.interrupt),
  failingFinalizer: () =>
    resource("bad", Effect.die(new Error("cannot close"))).pipe(
      Layer.provideMerge(work("endless", { gracePeriod: 0 }))
    ),
  talking: () =>
    Layer.effectDiscard(
      Effect.forkScoped(
        Effect.repeat(Effect.andThen(Effect.logInfo("x".repeat(1_000)), note("logged")), Schedule.spaced(5))
      )
    ).pipe(Layer.provideMerge(work("endless", { gracePeriod: 0 })))
}

const explode = () => {
  throw new Error("a bug in a Layer")
}

const mode = modes[process.argv[2] as keyof typeof modes]()
Worker.runMain((mode as Layer.Layer<unknown, unknown, never>).pipe(Layer.provide(MemoryTransport.layer)))
