/**
 * Who takes part in a history: clients and workers, each in a process of its
 * own that can be killed and started again.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Client from "../../src/Client.ts"
import * as JobEvents from "../../src/JobEvents.ts"
import { Signing } from "../../src/Signing.ts"
import { Transport } from "../../src/Transport.ts"
import * as Worker from "../../src/Worker.ts"
import { Link, type Network } from "./link.ts"
import { type Action, tasksOf, type WorkerPlan } from "./plan.ts"
import type { Prng } from "./prng.ts"
import type { Recorder } from "./recorder.ts"
import * as Tap from "./tap.ts"
import { byTag, type Handler, type Tag, toLayer } from "./tasks.ts"
import { Process, type World } from "./world.ts"

/** What everybody needs. */
export interface Stage {
  readonly world: World
  readonly random: Prng
  readonly recorder: Recorder
  readonly broker: Process
  /** The broker's side of the transport, planted bugs included. */
  readonly transport: Transport["Service"]
  /** The worker's side: planted bugs of workers. */
  readonly atWorker: (transport: Transport["Service"], process: Process) => Transport["Service"]
  readonly signing: Signing | undefined
  network: Network
  healed: boolean
}

/** A process with its connection. */
export class Machine {
  readonly process: Process
  readonly link: Link
  readonly context: Context.Context<Transport>

  constructor(stage: Stage, name: string, skew = 0) {
    const { broker, random, recorder, world } = stage
    this.process = new Process(world, name, random.fork(`random ${name}`), skew)
    const inner = Tap.atBroker(stage.transport, this.process, recorder)
    this.link = new Link(this.process, broker, inner, stage.network, random.fork(`link ${name}`))
    this.context = this.process.context.pipe(
      Context.add(Transport, stage.atWorker(Tap.atWorker(this.link.transport, this.process, recorder), this.process)),
      Context.add(Signing, stage.signing)
    )
  }

  run<A, E>(effect: Effect.Effect<A, E, Transport>, onExit: (exit: Exit.Exit<A, E>) => void = () => {}): void {
    this.process.fork(Effect.provideContext(effect, this.context), (fiber) => fiber.addObserver(onExit))
  }
}

export class ClientActor {
  readonly machine: Machine
  /** Waiters that have no answer yet, by what they wait for. */
  readonly waiting = new Set<string>()
  private client: Client.Client["Service"] | undefined

  constructor(stage: Stage, name: string) {
    this.machine = new Machine(stage, name)
    this.machine.run(
      Effect.map(Scope.provide(Scope.makeUnsafe())(Client.make), (client) => {
        this.client = client
      }).pipe(Effect.retry({ times: 100 }))
    )
  }

  /** Does nothing before the client is there. */
  run<A, E>(effect: Effect.Effect<A, E, Client.Client | Transport>): void {
    const { client } = this
    if (client !== undefined) this.machine.run(Effect.provideService(effect, Client.Client, client))
  }

  /** Reschedules a job, or takes it back. */
  revise(
    { id, queue }: { readonly queue: string; readonly id: string },
    action: Extract<Action, { _tag: "Reschedule" | "Unschedule" }>,
    recorder: Recorder
  ): void {
    const { name, world } = this.machine.process
    this.run(
      Effect.gen(function*() {
        const job = (yield* Client.Client).job(queue, id)
        if (action._tag === "Reschedule") {
          const { absolute, delay } = action
          const answer = yield* job.reschedule(absolute ? { at: world.now + delay } : { delay })
          return world.trace(name, `reschedules ${id}: ${answer}`)
        }
        const calledAt = world.now
        const answer = yield* job.unschedule
        world.trace(name, `takes back ${id}: ${answer}`)
        if (answer === "unscheduled") recorder.cancelled(queue, id, "cancelled", calledAt)
      }).pipe(Effect.ignore)
    )
  }

  kill(): void {
    this.machine.process.kill()
    this.machine.link.close()
    this.waiting.clear()
  }
}

export class WorkerActor {
  readonly plan: WorkerPlan
  readonly machine: Machine
  /** How many it serves. */
  readonly queues: number
  /** It knows every task. */
  readonly complete: boolean
  /** It serves, until it is stopped. */
  ready = false
  private readonly stage: Stage
  private readonly stopping = Deferred.makeUnsafe<void>()
  private readonly stopNow = Deferred.makeUnsafe<void>()

  /** `onEnd` is called once, when the process has ended by itself. */
  constructor(
    stage: Stage,
    name: string,
    plan: WorkerPlan,
    options: {
      readonly maxDeliveries: number
      readonly unknownTaskTimeout: number
      readonly limits: Readonly<Partial<Record<Tag, number>>>
      readonly handler: (worker: WorkerActor) => Handler
      readonly onEnd: (worker: WorkerActor) => void
    }
  ) {
    this.stage = stage
    this.plan = plan
    this.machine = new Machine(stage, name, plan.skew)
    stage.recorder.health.leases.set(this.machine.process, plan.lease)
    const [first, ...others] = tasksOf(plan, stage.healed).map((tag) => byTag[tag])
    this.queues = new Set([first!, ...others].map((task) => task.queue)).size
    this.complete = this.queues === 2 && !plan.old
    const served = new Set<string>([first!, ...others].map((task) => task._tag))
    const limits = Object.fromEntries(Object.entries(options.limits).filter(([tag]) => served.has(tag)))
    const program = Effect.scoped(Effect.gen({ self: this }, function*() {
      yield* Worker.make({
        tasks: [first!, ...others],
        id: plan.id,
        concurrency: plan.concurrency,
        prefetch: plan.prefetch,
        taskConcurrency: limits,
        idleTimeout: plan.lease,
        gracePeriod: plan.gracePeriod,
        maxDeliveries: options.maxDeliveries,
        unknownTaskTimeout: options.unknownTaskTimeout
      })
      stage.world.trace(name, "is ready")
      this.ready = true
      yield* Deferred.await(this.stopping)
    })).pipe(
      Effect.provide(toLayer(options.handler(this)), { local: true }),
      Effect.provideService(Worker.StopNow, Deferred.await(this.stopNow))
    )
    this.machine.run(program, (exit) => {
      stage.world.trace(name, Exit.isSuccess(exit) ? "has drained" : `ends: ${String(exit.cause)}`)
      if (Exit.isSuccess(exit)) stage.recorder.drained(this.machine.process)
      stage.world.after(0, () => {
        if (this.machine.process.alive) this.end(() => options.onEnd(this))
      })
    })
  }

  get name(): string {
    return this.machine.process.name
  }

  stop(now: boolean): void {
    this.ready = false
    const { process } = this.machine
    const { health } = this.stage.recorder
    const grace = this.stage.world.now + (now ? 0 : this.plan.gracePeriod)
    health.graceUntil.set(process, Math.min(grace, health.graceUntil.get(process) ?? Infinity))
    process.post(() => Deferred.doneUnsafe(this.stopping, Exit.void))
    if (now) this.stage.world.after(50, () => process.post(() => Deferred.doneUnsafe(this.stopNow, Exit.void)))
  }

  /** Without a word. */
  kill(): void {
    this.ready = false
    this.stage.recorder.killed(this.machine.process)
    this.machine.process.kill()
  }

  private end(then: () => void): void {
    this.kill()
    this.machine.link.close()
    then()
  }
}

/** Somebody who reads all events and does nothing with them. */
export const listen = (stage: Stage): Machine => {
  const machine = new Machine(stage, "ear")
  machine.run(Stream.runDrain(JobEvents.stream()))
  return machine
}
