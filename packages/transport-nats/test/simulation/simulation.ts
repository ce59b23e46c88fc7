/**
 * Plays one history on the modelled server, from a seed alone, and says which
 * promises it broke.
 */
import * as Client from "@troupe/core/Client"
import * as DeadLetter from "@troupe/core/DeadLetter"
import * as JobQueue from "@troupe/core/JobQueue"
import { Invariants } from "@troupe/core/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { isLossy } from "../../../core/test/simulation/link.ts"
import * as Plans from "../../../core/test/simulation/plan.ts"
import { Prng } from "../../../core/test/simulation/prng.ts"
import { byTag, type Handler, perform, type Step, type Tag } from "../../../core/test/simulation/tasks.ts"
import { World } from "../../../core/test/simulation/world.ts"
import { Server } from "../model/server.ts"
import { ClientActor, Observer, type Plant, type Stage, WorkerActor } from "./cast.ts"
import * as Faults from "./faults.ts"
import { Recorder } from "./recorder.ts"
import { watch } from "./watch.ts"

export interface Report {
  readonly seed: number
  readonly violations: ReadonlyArray<Invariants.Violation>
  /** What happened, line by line. */
  readonly lines: ReadonlyArray<string>
  readonly jobs: number
  readonly runs: number
  /** ms of virtual time. */
  readonly lasted: number
}

class Simulation {
  readonly world: World
  readonly recorder: Recorder
  private readonly plan: Plans.Plan
  private readonly faults: ReadonlyArray<Faults.Fault>
  private readonly random: Prng
  private readonly patience: number
  private readonly stage: Stage
  private readonly clients: Array<ClientActor> = []
  private readonly workers: Array<WorkerActor> = []
  private readonly observer: Observer
  private readonly steps = new Map<number, ReadonlyArray<Step>>()
  private readonly starts = new Map<number, number>()
  private readonly handles = new Map<number, { readonly queue: string; readonly id: string }>()
  private readonly onHealed: Array<() => void> = []
  private incarnations = 0
  private quiet = false
  /** What the last look found that is not over yet. */
  private unrest: ReadonlyArray<Invariants.Observation> = []
  private healed = false

  constructor(seed: number, plant: Plant) {
    const random = new Prng(`seed ${seed}`)
    this.patience = plant.patience ?? 600_000
    this.random = random.fork("play")
    this.plan = Plans.make(random.fork("plan"))
    this.faults = Faults.draw(random.fork("server"), this.plan.duration)
    this.world = new World(random.fork("order"))
    const server = new Server(this.world, random.fork("model"))
    this.recorder = new Recorder(this.world, (reply) => server.isCurrent(reply))
    this.recorder.healthy = !isLossy(this.plan.network)
    watch(server, this.recorder, "sim")
    const stage: Stage = {
      world: this.world,
      random: random.fork("cast"),
      recorder: this.recorder,
      server,
      network: this.plan.network,
      plant
    }
    this.stage = stage
    this.observer = new Observer(stage)
  }

  async play(): Promise<void> {
    for (let i = 0; i < this.plan.clients; i++) this.startClient(i)
    this.plan.workers.forEach((_, i) => this.startWorker(i))
    for (const { action, at } of this.plan.actions) this.world.after(at, () => this.act(action))
    for (const fault of this.faults) {
      this.world.after(fault.at, () => {
        this.recorder.healthy = false
        Faults.strike(fault, this.stage.server)
      })
    }
    this.world.after(this.plan.duration, () => this.heal())
    this.observeSometimes()
    const deadline = this.world.startedAt + this.plan.duration + this.patience
    await this.world.run(() => this.quiet || this.world.now > deadline)
    let last = false
    this.look(Invariants.observe, () =>
      this.look(Invariants.observeListings, () => {
        last = true
      }))
    const lookUntil = this.world.now + this.patience
    await this.world.run(() => last || this.world.now > lookUntil)
    for (const { process } of [...this.clients, ...this.workers, this.observer]) process.kill()
  }

  get violations(): ReadonlyArray<Invariants.Violation> {
    const found = Invariants.check(this.recorder.history, {
      finished: true,
      // the clock of the server is known as well as the way to it
      tolerance: 2 + 2 * this.plan.network.latency,
      workerTolerance: 50 + 2 * this.plan.network.latency,
      maxDeliveries: this.plan.maxDeliveries,
      exactDeliveries: false
    })
    const waiting = this.clients.flatMap((client) => [...client.waiting])
    return [
      ...found.filter((one) => !this.isLimit(one)),
      ...this.recorder.complaints,
      ...this.restless,
      ...waiting.map((id): Invariants.Violation => ({
        kind: "Unfinished",
        queue: "?",
        id,
        at: undefined,
        message: "a client waits for it for ever"
      }))
    ]
  }

  /** What JetStream cannot promise: see docs/nats.md. */
  private isLimit({ at = 0, id, kind, message, queue }: Invariants.Violation): boolean {
    // it takes heartbeats of a lost lease: a stale run may get a token, greater than those before and that of the owner
    if (kind === "FencingOrder") {
      return message.includes("never owned its lease") || message.includes("had lost its lease")
    }
    // a letter stays until its job was sent
    if (kind === "TwoPlaces" && message.includes("dead letter") && this.recorder.isReplaying(queue, id, at)) return true
    // the record of a cancel is there before its job is taken away: what counts is when the cancel returns
    return kind === "StartAfterEnd" && message.includes("(cancelled)") &&
      !this.recorder.history.cancels.some((one) => one.queue === queue && one.id === id && one.returnedAt < at)
  }

  /** Every history comes to rest: what was accepted, and what may have been. */
  private get restless(): ReadonlyArray<Invariants.Violation> {
    if (this.quiet) return []
    return this.unrest.map(({ at, id, places, queue }) => ({
      kind: "Unfinished",
      queue,
      id,
      at,
      message: `it is still ${places?.join(" and ")}, all faults are over for ${this.patience} ms`
    }))
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
      healed: this.healed,
      maxDeliveries: this.plan.maxDeliveries,
      unknownTaskTimeout: this.plan.unknownTaskTimeout,
      handler: (worker) => this.handlerOf(worker, index),
      onEnd: () => this.world.after(this.random.int(100, 1_000), () => this.startWorker(index, this.random.chance(0.3)))
    })
  }

  private killWorker(index: number): void {
    const worker = this.workers[index]!
    if (!worker.process.alive) return
    this.world.trace(worker.process.name, "is killed")
    worker.kill()
    this.world.after(this.random.int(100, 2_500), () => this.startWorker(index))
  }

  private handlerOf(worker: WorkerActor, index: number): Handler {
    return ({ n }, execution) => {
      const start = this.starts.get(n) ?? 0
      this.starts.set(n, start + 1)
      const steps = this.steps.get(n)!
      const step = this.tamed(steps[Math.min(start, steps.length - 1)]!)
      const body = perform(step, n, {
        onInterrupt: () => {},
        die: () => this.world.after(0, () => this.killWorker(index)),
        healed: Effect.callback((resume) => {
          if (this.healed) return resume(Effect.void)
          this.onHealed.push(() => worker.process.post(() => resume(Effect.void)))
        })
      })
      return this.recorder.watch(worker.process, execution, step, body)
    }
  }

  /** After the faults everything ends soon. */
  private tamed(step: Step): Step {
    if (!this.healed) return step
    const ends = step.ends === "snoozes" || step.ends === "hangs" ? "succeeds" : step.ends
    return { ...step, ends, lasts: Math.min(step.lasts, 50), cleanup: 0 }
  }

  private heal(): void {
    this.world.trace("world", "heals")
    this.healed = true
    this.stage.network = Faults.heal(this.stage.network)
    for (const { wire } of [...this.clients, ...this.workers]) wire.heal()
    for (const resume of this.onHealed) resume()
    // a pause that was on its way is repeated for so long
    for (const later of [0, 12_000]) {
      this.world.after(later, () => {
        for (const queue of ["a", "b"]) this.observer.run(Effect.ignore(JobQueue.resume(queue)))
      })
    }
    // a new version that knows every task
    for (const worker of this.workers) if (!worker.complete) worker.stop(false)
    this.watchForQuiet()
  }

  private look(
    observe: typeof Invariants.observe,
    then: (seen: ReadonlyArray<Invariants.Observation>) => void
  ): void {
    const { now } = this.world
    this.observer.run(Effect.suspend(() => observe([...this.recorder.jobs])), (exit) => {
      if (Exit.isFailure(exit)) this.world.trace("observer", `sees nothing: ${String(exit.cause)}`)
      else for (const one of exit.value) this.recorder.observed(one, now)
      then(Exit.isSuccess(exit) ? exit.value : [])
    })
  }

  private observeSometimes(): void {
    this.world.after(this.random.int(500, 4_000), () => {
      if (this.healed) return
      this.look(Invariants.observe, () => this.observeSometimes())
    })
  }

  private watchForQuiet(looks = 0): void {
    this.world.after(1_000, () =>
      this.look(Invariants.observe, (seen) => {
        this.unrest = seen.filter(({ places = [] }) => places.some((place) => place !== "dead"))
        const over = this.unrest.length === 0 && this.clients.every((client) => client.waiting.size === 0)
        // enqueues that waited for the server and what is repeated late have arrived by the last look
        if (over && looks >= 10) this.quiet = true
        else this.watchForQuiet(over ? looks + 1 : 0)
      }))
  }

  private act(action: Plans.Action): void {
    if (["Freeze", "CutOff", "CutOffClient", "Stall"].includes(action._tag)) this.recorder.healthy = false
    switch (action._tag) {
      case "Enqueue":
        return this.enqueue(this.clients[action.client]!, action.task, action.jobs)
      case "Cancel":
        return this.cancel(this.clients[action.client]!, action.n)
      case "Reschedule":
      case "Unschedule":
        return this.revise(this.clients[action.client]!, action)
      case "Kill":
        return this.killWorker(action.worker)
      case "Stop":
        this.world.trace(this.workers[action.worker]!.process.name, action.now ? "is to stop now" : "is to stop")
        return this.workers[action.worker]!.stop(action.now)
      case "Freeze": {
        const { process } = this.workers[action.worker]!
        this.world.trace(process.name, `stands still for ${action.milliseconds} ms`)
        return process.freeze(action.milliseconds)
      }
      case "CutOff":
        return this.workers[action.worker]!.wire.cutOff(action.milliseconds)
      case "CutOffClient":
        return this.clients[action.client]!.wire.cutOff(action.milliseconds)
      case "KillClient":
        this.world.trace(this.clients[action.client]!.process.name, "is killed")
        this.clients[action.client]!.kill()
        return this.startClient(action.client)
      case "Stall":
        this.world.trace("server", `stands still for ${action.milliseconds} ms`)
        return this.stage.server.stall(action.milliseconds)
      case "Pause":
        this.world.after(action.milliseconds, () => this.clients[0]!.run(Effect.ignore(JobQueue.resume(action.queue))))
        return this.clients[0]!.run(Effect.ignore(JobQueue.pause(action.queue)))
      case "Purge":
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
    const items = jobs.map((job) => {
      this.steps.set(job.n, job.steps)
      const due = job.delay === 0 ? {} : job.absolute ? { at: this.world.now + job.delay } : { delay: job.delay }
      const options = { ...due, id: job.id, key: job.key, priority: job.priority, expiresIn: job.expiresIn }
      return { payload: { n: job.n, unique: job.unique }, options }
    })
    client.run(
      Effect.map(task.enqueueMany(items), (outcomes) => {
        outcomes.forEach((outcome, i) => {
          if (Result.isFailure(outcome)) return
          const { id, queue } = outcome.success
          this.handles.set(jobs[i]!.n, { queue, id })
          if (jobs[i]!.awaited) this.awaitRecord(client, queue, id)
        })
      }).pipe(Effect.retry({ times: 1 }), Effect.ignore)
    )
  }

  private awaitRecord(client: ClientActor, queue: string, id: string): void {
    const name = `${id} (${this.incarnations++})`
    client.waiting.add(name)
    client.run(Effect.gen({ self: this }, function*() {
      const service = yield* Client.Client
      const result = yield* Effect.result(service.job(queue, id).awaitRecord)
      client.waiting.delete(name)
      if (Result.isSuccess(result)) return this.recorder.told(queue, id, result.success)
      const { failure } = result
      if (failure._tag !== "JobNotFound") return this.recorder.complain("Unfinished", queue, id, failure.message)
      this.recorder.history.observations.push({ queue, id, at: this.world.now, places: [], record: undefined })
    }))
  }

  private revise(client: ClientActor, action: Extract<Plans.Action, { _tag: "Reschedule" | "Unschedule" }>): void {
    const handle = this.handles.get(action.n)
    if (handle === undefined) return
    const { id, queue } = handle
    client.run(
      Effect.gen({ self: this }, function*() {
        const job = (yield* Client.Client).job(queue, id)
        if (action._tag === "Reschedule") {
          const { absolute, delay } = action
          const answer = yield* job.reschedule(absolute ? { at: this.world.now + delay } : { delay })
          return this.world.trace("client", `reschedules ${id}: ${answer}`)
        }
        const answer = yield* job.unschedule
        this.world.trace("client", `takes back ${id}: ${answer}`)
        if (answer === "unscheduled") this.recorder.cancelled(queue, id, "cancelled")
      }).pipe(Effect.ignore)
    )
  }

  private cancel(client: ClientActor, n: number): void {
    const handle = this.handles.get(n)
    if (handle === undefined) return
    const { id, queue } = handle
    client.run(
      Effect.gen({ self: this }, function*() {
        const service = yield* Client.Client
        this.recorder.cancelled(queue, id, yield* service.job(queue, id).cancel)
      }).pipe(Effect.ignore)
    )
  }
}

export const simulate = async (seed: number, plant: Plant = {}): Promise<Report> => {
  const simulation = new Simulation(seed, plant)
  await simulation.play()
  const { recorder: { history }, violations, world } = simulation
  return {
    seed,
    violations,
    lines: world.lines,
    jobs: history.sent.length,
    runs: history.runs.length,
    lasted: world.now - world.startedAt
  }
}
