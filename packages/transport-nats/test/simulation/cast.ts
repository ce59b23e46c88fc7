/**
 * Who takes part in a history: clients and workers, each in a process with a
 * transport of its own that can be killed and started again.
 */
import * as Client from "@troupe/core/Client"
import { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type Network, perfect } from "../../../core/test/simulation/link.ts"
import { tasksOf, type WorkerPlan } from "../../../core/test/simulation/plan.ts"
import type { Prng } from "../../../core/test/simulation/prng.ts"
import { changingDeliveries, showSettlement, withLog, withSubscription } from "../../../core/test/simulation/seam.ts"
import { byTag, type Handler, toLayer } from "../../../core/test/simulation/tasks.ts"
import { Process, type World } from "../../../core/test/simulation/world.ts"
import { HandOut } from "../../src/internal/handOut.ts"
import type { Streams } from "../../src/internal/streams.ts"
import { make } from "../../src/internal/transport.ts"
import type { Server } from "../model/server.ts"
import { Wire } from "../model/wire.ts"
import type { Recorder } from "./recorder.ts"

/** A bug to see whether it is caught. */
export interface Plant {
  /** ms of virtual time after which a history that does not come to rest is broken. Default: 10 minutes. */
  readonly patience?: number
  readonly atPort?: (streams: Streams) => Streams
}

/** What everybody needs. */
export interface Stage {
  readonly world: World
  readonly random: Prng
  readonly recorder: Recorder
  readonly server: Server
  readonly plant: Plant
  network: Network
}

/** A process with its connection. */
class Machine {
  readonly process: Process
  readonly wire: Wire
  private readonly context = Deferred.makeUnsafe<Context.Context<Transport>>()

  constructor(stage: Stage, name: string, network: Network, skew = 0) {
    const { plant, random, server, world } = stage
    this.process = new Process(world, name, random.fork(`random ${name}`), skew)
    this.wire = new Wire(this.process, server, network, random.fork(`wire ${name}`))
    const streams = plant.atPort?.(this.wire.streams) ?? this.wire.streams
    // never closed: processes are killed, or end their worker first
    const transport = Scope.provide(Scope.makeUnsafe())(
      make(streams, { namespace: "sim", durability: "process", maxMessages: 1_000_000 })
    )
    this.process.fork(
      Effect.retry(transport, { times: 100 }).pipe(
        Effect.map((transport) => {
          const context = Context.add(this.process.context, Transport, tapped(transport, this.process, stage.recorder))
          Deferred.doneUnsafe(this.context, Exit.succeed(context))
        })
      )
    )
  }

  /** Once the transport is there. */
  start<A, E>(effect: Effect.Effect<A, E, Transport>, onExit: (exit: Exit.Exit<A, E>) => void = () => {}): void {
    const program = Effect.flatMap(Deferred.await(this.context), (context) => Effect.provideContext(effect, context))
    this.process.fork(program, (fiber) => fiber.addObserver(onExit))
  }

  kill(): void {
    this.process.kill()
    this.wire.close()
  }
}

/** Writes down what is accepted, and which hand-out a handler runs: it sees the `headers` object of its own. */
const tapped = (inner: Transport["Service"], process: Process, recorder: Recorder): Transport["Service"] => {
  const listening = withSubscription(
    withLog(inner, (log) => ({
      send: (envelopes) =>
        Effect.tap(log.send(envelopes), (answers) =>
          Effect.sync(() =>
            envelopes.forEach((envelope, i) => {
              const answer = answers[i]!
              process.world.trace(
                process.name,
                `sent ${envelope.id}: ${typeof answer === "string" ? answer : answer.message}`
              )
              if (answer === "sent") recorder.accepted(envelope)
            })
          )),
      revise: (queue, revisions) =>
        Effect.suspend(() => {
          for (const one of revisions) if (one._tag === "Reschedule") recorder.moving(one.successor)
          return log.revise(queue, revisions)
        }),
      redrive: (queue, letters) =>
        Effect.suspend(() => {
          const over = recorder.replaying(queue, letters.map(({ id }) => id))
          return log.redrive(queue, letters).pipe(
            Effect.tapError(({ reason }) => Effect.sync(() => reason._tag === "Unavailable" ? undefined : over())),
            Effect.tap((answers) =>
              Effect.sync(() => {
                over()
                letters.forEach(({ as }, i) => {
                  if (as !== "drop" && answers[i] === "done") recorder.replayed(as)
                })
              })
            )
          )
        })
    })),
    (subscription) => ({
      settle: (all) =>
        Effect.tap(subscription.settle(all), (answers) =>
          Effect.sync(() =>
            all.forEach((one, i) => {
              const what = `settles ${one.delivery.envelope.id} ${showSettlement(one)}: ${answers[i]}`
              process.world.trace(process.name, what)
            })
          ))
    })
  )
  return changingDeliveries(listening, { stands: new WeakMap() }, (delivery) => {
    const headers = { ...delivery.envelope.headers }
    const { attempt, enqueuedAt, id, revision } = delivery.envelope
    if (delivery instanceof HandOut) {
      recorder.handOuts.set(headers, { reply: delivery.message.reply, enqueuedAt, revision })
    }
    process.world.trace(
      process.name,
      `gets ${id} revision ${revision} attempt ${attempt} hand-out ${delivery.deliveries}`
    )
    return { envelope: { ...delivery.envelope, headers } }
  })
}

/** Sees everything, at any time. */
export class Observer extends Machine {
  constructor(stage: Stage) {
    super(stage, "observer", perfect)
  }

  run<A, E>(effect: Effect.Effect<A, E, Transport>, onExit?: (exit: Exit.Exit<A, E>) => void): void {
    this.start(effect, onExit)
  }
}

export class ClientActor extends Machine {
  /** Waiters that have no answer yet, by what they wait for. */
  readonly waiting = new Set<string>()
  private client: Client.Client["Service"] | undefined

  constructor(stage: Stage, name: string) {
    super(stage, name, stage.network)
    this.start(
      Effect.map(Scope.provide(Scope.makeUnsafe())(Client.make), (client) => {
        this.client = client
      }).pipe(Effect.retry({ times: 100 }))
    )
  }

  /** Does nothing before the client is there. */
  run<A, E>(effect: Effect.Effect<A, E, Client.Client | Transport>): void {
    const { client } = this
    if (client !== undefined) this.start(Effect.provideService(effect, Client.Client, client))
  }

  override kill(): void {
    super.kill()
    this.waiting.clear()
  }
}

export class WorkerActor extends Machine {
  /** It knows every task. */
  readonly complete: boolean
  private readonly recorder: Recorder
  private readonly stopping = Deferred.makeUnsafe<void>()
  private readonly stopNow = Deferred.makeUnsafe<void>()

  /** `onEnd` is called once, when the process has ended by itself. */
  constructor(
    stage: Stage,
    name: string,
    plan: WorkerPlan,
    options: {
      readonly healed: boolean
      readonly maxDeliveries: number
      readonly unknownTaskTimeout: number
      readonly handler: (worker: WorkerActor) => Handler
      readonly onEnd: () => void
    }
  ) {
    super(stage, name, stage.network, plan.skew)
    this.recorder = stage.recorder
    const [first, ...others] = tasksOf(plan, options.healed).map((tag) => byTag[tag])
    this.complete = new Set([first!, ...others].map((task) => task.queue)).size === 2 && !plan.old
    const program = Effect.scoped(Effect.andThen(
      Worker.make({
        tasks: [first!, ...others],
        id: plan.id,
        concurrency: plan.concurrency,
        prefetch: plan.prefetch,
        idleTimeout: plan.lease,
        gracePeriod: plan.gracePeriod,
        maxDeliveries: options.maxDeliveries,
        unknownTaskTimeout: options.unknownTaskTimeout
      }),
      Deferred.await(this.stopping)
    )).pipe(
      Effect.provide(toLayer(options.handler(this)), { local: true }),
      Effect.provideService(Worker.StopNow, Deferred.await(this.stopNow))
    )
    this.start(program, (exit) => {
      stage.world.trace(name, Exit.isSuccess(exit) ? "has drained" : `ends: ${String(exit.cause)}`)
      stage.world.after(0, () => {
        if (!this.process.alive) return
        this.kill()
        options.onEnd()
      })
    })
  }

  stop(now: boolean): void {
    this.process.post(() => Deferred.doneUnsafe(this.stopping, Exit.void))
    if (now) this.process.world.after(50, () => this.process.post(() => Deferred.doneUnsafe(this.stopNow, Exit.void)))
  }

  /** Without a word. */
  override kill(): void {
    this.recorder.killed(this.process)
    super.kill()
  }
}
