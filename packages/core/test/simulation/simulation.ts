/**
 * Plays one history, from a seed alone, and says which promises it broke.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { Client as ClientService } from "../../src/Client.ts"
import * as DeadLetter from "../../src/DeadLetter.ts"
import * as JobQueue from "../../src/JobQueue.ts"
import type { JobRef } from "../../src/JobRef.ts"
import * as MemoryTransport from "../../src/MemoryTransport.ts"
import * as Signing from "../../src/Signing.ts"
import * as Invariants from "../../src/testing/Invariants.ts"
import { Transport } from "../../src/Transport.ts"
import { ClientActor, listen, type Machine, type Stage, WorkerActor } from "./cast.ts"
import { Health } from "./health.ts"
import { perfect } from "./link.ts"
import * as Plans from "./plan.ts"
import { Prng } from "./prng.ts"
import { Recorder } from "./recorder.ts"
import { byTag, type Handler, perform, type Step, type Tag } from "./tasks.ts"
import { Process, World } from "./world.ts"

/** A bug to see whether it is caught. */
export interface Plant {
  readonly atBroker?: (
    transport: Transport["Service"],
    tools: { readonly random: Prng; readonly recorder: Recorder; readonly broker: Process }
  ) => Transport["Service"]
  readonly atWorker?: (transport: Transport["Service"], process: Process) => Transport["Service"]
}

export interface Report {
  readonly seed: number
  readonly plan: Plans.Plan
  readonly violations: ReadonlyArray<Invariants.Violation>
  /** What happened, line by line. */
  readonly lines: ReadonlyArray<string>
  readonly jobs: number
  readonly runs: number
  /** ms of virtual time. */
  readonly lasted: number
}

/** ms of virtual time after which a history that does not come to rest is broken. */
const patience = 600_000

/** Seconds. */
const longestBackoff = 10

const signing = Effect.runSync(Signing.makeHmac({
  keys: [{ id: "simulation", secret: Redacted.make(new Uint8Array(32).map((_, i) => 7 * i + 1)) }]
}))

class Simulation {
  readonly world: World
  readonly plan: Plans.Plan
  private readonly random: Prng
  private readonly recorder: Recorder
  private readonly stage: Stage
  private readonly crash: (consumer: string) => void
  private readonly stall: (milliseconds: number) => void
  private readonly clients: Array<ClientActor> = []
  private readonly workers: Array<WorkerActor> = []
  private readonly steps = new Map<number, ReadonlyArray<Step>>()
  private readonly starts = new Map<number, number>()
  private readonly handles = new Map<number, { readonly queue: string; readonly id: string }>()
  private readonly onHealed: Array<() => void> = []
  private readonly machines: Array<Machine> = []
  private readonly stuck: Array<Invariants.Violation> = []
  private incarnations = 0
  private quiet = false
  private broken: unknown

  constructor(seed: number, plant: Plant) {
    const random = new Prng(`seed ${seed}`)
    this.random = random.fork("play")
    this.plan = Plans.make(random.fork("plan"))
    this.world = new World(random.fork("order"))
    this.recorder = new Recorder(this.world, new Health(this.world, this.plan))
    const broker = new Process(this.world, "broker", random.fork("broker"))
    const services = Effect.runSyncWith(broker.context)(
      Layer.buildWithScope(MemoryTransport.layer, Scope.makeUnsafe())
    )
    const memory = Context.get(services, MemoryTransport.MemoryBroker)
    this.crash = (consumer) => broker.fork(memory.crash(consumer))
    this.stall = (milliseconds) => broker.fork(memory.stall(milliseconds))
    const transport = Context.get(services, Transport)
    this.stage = {
      world: this.world,
      random: random.fork("cast"),
      recorder: this.recorder,
      broker,
      transport: plant.atBroker?.(transport, { random: random.fork("plant"), recorder: this.recorder, broker }) ??
        transport,
      atWorker: plant.atWorker ?? ((transport) => transport),
      signing: this.plan.signed ? signing : undefined,
      network: this.plan.network,
      healed: false
    }
  }

  async play(): Promise<void> {
    for (let i = 0; i < this.plan.clients; i++) this.startClient(i)
    this.plan.workers.forEach((_, i) => this.startWorker(i))
    if (this.plan.listener) this.machines.push(listen(this.stage))
    for (const { action, at } of this.plan.actions) this.world.after(at, () => this.act(action))
    this.world.after(this.plan.duration, () => this.heal())
    this.observeSometimes()
    const deadline = this.world.startedAt + this.plan.duration + patience
    await this.world.run(() => this.quiet || this.broken !== undefined || this.world.now > deadline)
    if (this.broken !== undefined) throw this.broken
    let last = false
    this.look(Invariants.observe, () =>
      this.look(Invariants.observeListings, () => {
        last = true
      }))
    await this.world.run(() => last)
    this.recorder.lookBack()
    for (const { machine } of [...this.clients, ...this.workers]) machine.process.kill()
    this.stage.broker.kill()
  }

  /** How many pulls wait for every worker, and how many should. */
  private get idle(): ReadonlyArray<readonly [pulls: number, queues: number, worker: Process]> {
    return this.workers.filter(({ ready }) => ready).map(({ machine, queues }) =>
      [machine.link.waitingPulls, queues, machine.process] as const
    )
  }

  get violations(): ReadonlyArray<Invariants.Violation> {
    const found = Invariants.check(this.recorder.history, {
      finished: true,
      // a worker takes the time that it is told for the time at which it hears of it
      workerTolerance: this.plan.network.latency,
      maxDeliveries: this.plan.maxDeliveries
    })
    const waiting = this.clients.flatMap((client) => [...client.waiting])
    return [
      ...found,
      ...this.recorder.health.complaints,
      ...this.stuck,
      ...waiting.map((id) => this.unfinished(id, "a client waits for it for ever"))
    ]
  }

  private unfinished(id: string, message: string): Invariants.Violation {
    return { kind: "Unfinished", queue: "?", id, at: undefined, message }
  }

  get size() {
    return { jobs: this.recorder.history.sent.length, runs: this.recorder.history.runs.length }
  }

  // --- what goes on ---

  private startClient(index: number): void {
    this.clients[index] = new ClientActor(this.stage, `c${index + 1}.${this.incarnations++}`)
  }

  private startWorker(index: number, old = true): void {
    const plan = this.plan.workers[index]!
    const name = `${plan.id}.${this.incarnations++}`
    this.world.trace(name, "starts")
    this.workers[index] = new WorkerActor(this.stage, name, { ...plan, old: old && plan.old }, {
      maxDeliveries: this.plan.maxDeliveries,
      unknownTaskTimeout: this.plan.unknownTaskTimeout,
      limits: this.plan.limits,
      handler: (worker) => this.handlerOf(worker, index),
      onEnd: () => this.world.after(this.random.int(100, 1_000), () => this.startWorker(index, this.random.chance(0.3)))
    })
  }

  private killWorker(index: number, noticed: "at once" | "later" | "never"): void {
    const worker = this.workers[index]!
    if (!worker.machine.process.alive) return
    this.world.trace(worker.name, `is killed, the broker notices ${noticed}`)
    worker.kill()
    if (noticed === "at once") this.crash(worker.plan.id)
    else if (noticed === "later") this.world.after(this.random.int(1, 3_000), () => worker.machine.link.close())
    this.world.after(this.random.int(100, 2_500), () => this.startWorker(index))
  }

  private handlerOf(worker: WorkerActor, index: number): Handler {
    const { process } = worker.machine
    return ({ n }, execution) => {
      const start = this.starts.get(n) ?? 0
      this.starts.set(n, start + 1)
      const steps = this.steps.get(n)!
      const step = this.tamed(steps[Math.min(start, steps.length - 1)]!)
      return this.recorder.watch(process, execution, step, (onInterrupt) =>
        perform(step, n, {
          onInterrupt,
          die: () => this.world.after(0, () => this.killWorker(index, this.random.pick(["at once", "later", "never"]))),
          healed: Effect.callback((resume) => {
            if (this.stage.healed) return resume(Effect.void)
            this.onHealed.push(() => process.post(() => resume(Effect.void)))
          })
        }))
    }
  }

  /** After the faults everything ends soon. */
  private tamed(step: Step): Step {
    if (!this.stage.healed) return step
    const ends = step.ends === "snoozes" || step.ends === "hangs" ? "succeeds" : step.ends
    return { ...step, ends, lasts: Math.min(step.lasts, 50), cleanup: 0 }
  }

  private heal(): void {
    this.world.trace("world", "heals")
    this.stage.network = { ...perfect, latency: this.plan.network.latency }
    this.stage.healed = true
    for (const machine of [...this.clients, ...this.workers].map((actor) => actor.machine)) machine.link.heal()
    for (const resume of this.onHealed) resume()
    const { broker, transport } = this.stage
    for (const queue of ["a", "b"]) {
      this.recorder.health.paused(queue, false)
      broker.fork(Effect.provideService(Effect.ignore(JobQueue.resume(queue)), Transport, transport))
    }
    // a new version that knows every task
    for (const worker of this.workers) if (!worker.complete) worker.stop(false)
    this.watchForQuiet()
  }

  private look(
    observe: typeof Invariants.observe,
    then: (seen: ReadonlyArray<Invariants.Observation>) => void
  ): void {
    const { broker, transport } = this.stage
    // with nothing to look for, too, a broker that stalls is waited for
    const look = Effect.andThen(transport.clock, Effect.suspend(() => observe([...this.recorder.jobs])))
    broker.fork(
      Effect.provideService(look, Transport, transport),
      (fiber) =>
        fiber.addObserver((exit) => {
          if (Exit.isFailure(exit)) {
            this.broken = new Error(`the observer failed: ${String(exit.cause)}`)
            return
          }
          for (const one of exit.value) this.recorder.history.observations.push(one)
          then(exit.value)
        })
    )
  }

  private observeSometimes(): void {
    this.world.after(this.random.int(500, 4_000), () => {
      if (this.stage.healed) return
      this.look(Invariants.observe, () => this.observeSometimes())
    })
  }

  private watchForQuiet(looks = 0): void {
    this.world.after(1_000, () =>
      this.look(Invariants.observe, (seen) => {
        const over = seen.every(({ places }) => places === undefined || places.every((place) => place === "dead")) &&
          this.clients.every((client) => client.waiting.size === 0)
        // enqueues that waited for the broker and what is repeated late have arrived by the last look
        // and workers that had failed to pull try again
        if (over && looks >= 3 && (looks > longestBackoff || this.idle.every(([pulls, queues]) => pulls >= queues))) {
          this.quiet = true
          for (const [pulls, queues, worker] of this.idle) this.recorder.health.idle(worker, pulls, queues)
        } else this.watchForQuiet(over ? looks + 1 : 0)
      }))
  }

  private act(action: Plans.Action): void {
    if (["Freeze", "CutOff", "CutOffClient", "Stall"].includes(action._tag)) this.recorder.health.healthy = false
    switch (action._tag) {
      case "Enqueue":
        return this.enqueue(this.clients[action.client]!, action.task, action.jobs)
      case "Cancel":
        return this.cancel(this.clients[action.client]!, action.n)
      case "Reschedule":
      case "Unschedule": {
        const handle = this.handles.get(action.n)
        return handle && this.clients[action.client]!.revise(handle, action, this.recorder)
      }
      case "Kill":
        return this.killWorker(action.worker, action.noticed)
      case "Stop": {
        const worker = this.workers[action.worker]!
        this.world.trace(worker.name, action.now ? "is told to stop now" : "is told to stop")
        return worker.stop(action.now)
      }
      case "Freeze": {
        const { process } = this.workers[action.worker]!.machine
        this.world.trace(process.name, `stands still for ${action.milliseconds} ms`)
        return process.freeze(action.milliseconds)
      }
      case "CutOff":
      case "CutOffClient": {
        const actor = action._tag === "CutOff" ? this.workers[action.worker]! : this.clients[action.client]!
        this.world.trace(actor.machine.process.name, `is cut off for ${action.milliseconds} ms`)
        return actor.machine.link.cutOff(action.milliseconds)
      }
      case "KillClient": {
        this.clients[action.client]!.kill()
        return this.startClient(action.client)
      }
      case "Stall":
        this.world.trace("broker", `stalls for ${action.milliseconds} ms`)
        return this.stall(action.milliseconds)
      case "Pause":
        this.world.trace("world", `pauses queue ${action.queue} for ${action.milliseconds} ms`)
        this.world.after(action.milliseconds, () => this.clients[0]!.run(Effect.ignore(JobQueue.resume(action.queue))))
        return this.clients[0]!.run(Effect.ignore(JobQueue.pause(action.queue)))
      case "Purge":
        this.world.trace("world", `purges queue ${action.queue}`)
        return this.clients[0]!.run(Effect.ignore(JobQueue.purge(action.queue)))
      case "Replay":
        return this.clients[0]!.run(Effect.ignore(
          Effect.flatMap(
            DeadLetter.list(action.queue),
            ({ items }) => DeadLetter.replay(action.queue, items.map((letter) => letter.id))
          )
        ))
    }
  }

  private enqueue(client: ClientActor, tag: Tag, jobs: ReadonlyArray<Plans.JobPlan>): void {
    const task = byTag[tag]
    const follow = (job: Plans.JobPlan) => (handle: JobRef) => {
      this.handles.set(job.n, { queue: handle.queue, id: handle.id })
      if (job.awaited) this.awaitRecord(client, handle)
    }
    const items = jobs.map((job) => {
      this.steps.set(job.n, job.steps)
      const due = job.delay === 0
        ? {}
        : job.absolute
        ? { at: this.world.now + job.delay }
        : { delay: job.delay }
      const options = { ...due, id: job.id, key: job.key, priority: job.priority, expiresIn: job.expiresIn }
      return { payload: { n: job.n, unique: job.unique }, options }
    })
    const [first] = jobs
    client.run(
      Effect.gen(function*() {
        if (jobs.length > 1) {
          const outcomes = yield* task.enqueueMany(items)
          outcomes.forEach((outcome, i) => {
            if (outcome._tag === "Success") follow(jobs[i]!)(outcome.success)
          })
        } else if (first!.undecodable) {
          const { id, key } = first!
          const byName = (client: ClientService["Service"]) =>
            client.enqueueByName(tag, { n: "?" }, { queue: task.queue, id, key })
          follow(first!)(yield* byName(yield* ClientService))
        } else follow(first!)(yield* task.enqueue(items[0]!.payload, items[0]!.options))
      }).pipe(Effect.retry({ times: 1 }), Effect.ignore)
    )
  }

  private awaitRecord(client: ClientActor, { awaitRecord, id, queue }: JobRef): void {
    const name = `${id} (${this.incarnations++})`
    const waitingSince = this.world.now
    client.waiting.add(name)
    client.run(Effect.map(Effect.result(awaitRecord), (result) => {
      client.waiting.delete(name)
      const at = this.world.now
      const told = Result.isSuccess(result) ? result.success.state : result.failure.message
      this.world.trace(client.machine.process.name, `is told ${id}: ${told}`)
      const { observations } = this.recorder.history
      if (Result.isSuccess(result)) {
        observations.push({ queue, id, at, places: undefined, record: Invariants.view(result.success) })
        this.recorder.health.told(`${queue}/${id}`, waitingSince, result.success.finishedAt)
      } else if (result.failure._tag === "JobNotFound") {
        observations.push({ queue, id, at, places: [], record: undefined })
      } else this.stuck.push(this.unfinished(id, `a client that waited for it was told: ${told}`))
    }))
  }

  private cancel(client: ClientActor, n: number): void {
    const handle = this.handles.get(n)
    if (handle === undefined) return
    const { id, queue } = handle
    client.run(
      Effect.gen({ self: this }, function*() {
        const service = yield* ClientService
        const calledAt = this.world.now
        const answer = yield* service.job(queue, id).cancel
        this.world.trace(client.machine.process.name, `cancelled ${id}: ${answer}`)
        this.recorder.cancelled(queue, id, answer, calledAt)
      }).pipe(Effect.ignore)
    )
  }
}

export const simulate = async (seed: number, plant: Plant = {}): Promise<Report> => {
  const simulation = new Simulation(seed, plant)
  await simulation.play()
  const { plan, violations, world } = simulation
  return { seed, plan, violations, lines: world.lines, ...simulation.size, lasted: world.now - world.startedAt }
}
