/**
 * Histories of an actor, each from a seed alone: workers are killed, stand still
 * and lose their connections while clients send messages that add to a state.
 * The state itself says what was applied, how often and in which order.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Actor from "../../src/Actor.ts"
import * as Client from "../../src/Client.ts"
import * as MemoryTransport from "../../src/MemoryTransport.ts"
import * as Task from "../../src/Task.ts"
import { Transport } from "../../src/Transport.ts"
import * as Worker from "../../src/Worker.ts"
import { Link, networkOf, perfect } from "./link.ts"
import { Prng } from "./prng.ts"
import { Process, World } from "./world.ts"

const Journal = Actor.make("Journal", {
  queue: "actors",
  state: Schema.Array(Schema.Int),
  initialState: () => [],
  // the answer says at which place the message was applied
  messages: [Task.make("Add", { payload: { n: Schema.Int, lasts: Schema.Int }, success: Schema.Int })]
})

/** Stands between the broker and the worker. */
export type Bug = (transport: Transport["Service"]) => Transport["Service"]

/** A process with its way to the broker. */
export interface Host {
  readonly process: Process
  /** Run in the process. */
  readonly transport: Effect.Effect<Transport["Service"]>
  /** Nothing gets through for so many ms. */
  readonly cutOff: (milliseconds: number) => void
  /** From now on everything gets through. */
  readonly heal: () => void
  /** The process is gone. */
  readonly close: () => void
}

/** The broker of a history. */
export interface Site {
  readonly start: (name: string, isFaulty: boolean) => Host
  /** Its own faults begin. */
  readonly strike: (duration: number) => void
}

export interface Report {
  readonly seed: number
  readonly complaints: ReadonlyArray<string>
  readonly lines: ReadonlyArray<string>
  /** Handlers that were started. */
  readonly runs: number
  readonly messages: number
}

interface Sent {
  readonly n: number
  readonly key: string
  /** Messages of this client and key that were accepted before it was sent. */
  readonly after: ReadonlyArray<number>
  accepted: boolean
  /** Handed out too often: it ended without being applied. */
  poison: boolean
  answer: number | undefined
}

/** ms for which there are faults. */
const duration = 20_000

/** ms of virtual time after which everything must be over. */
const patience = 900_000

/** The memory transport, over a network that loses things. */
const memory = (world: World, random: Prng): Site => {
  const broker = new Process(world, "broker", random.fork("broker"))
  const services = Effect.runSyncWith(broker.context)(Layer.buildWithScope(MemoryTransport.layer, Scope.makeUnsafe()))
  const inner = Context.get(services, Transport)
  const faulty = networkOf(random)
  return {
    start: (name, isFaulty) => {
      const process = new Process(world, name, random.fork(`random ${name}`))
      const link = new Link(process, broker, inner, isFaulty ? faulty : perfect, random.fork(`link ${name}`))
      return {
        process,
        transport: Effect.succeed(link.transport),
        cutOff: (milliseconds) => link.cutOff(milliseconds),
        heal: () => link.heal(),
        close: () => link.close()
      }
    },
    strike: () => {}
  }
}

class Play {
  readonly world: World
  readonly sent: Array<Sent> = []
  runs = 0
  private readonly random: Prng
  private readonly site: Site
  private readonly bug: Bug
  private healed = false
  private open = 0
  private count = 0

  constructor(seed: number, bug: Bug, makeSite: (world: World, random: Prng) => Site) {
    const random = new Prng(`actors ${seed}`)
    this.random = random.fork("play")
    this.world = new World(random.fork("order"))
    this.site = makeSite(this.world, this.random)
    this.bug = bug
  }

  private machine(name: string, bug: Bug) {
    const host = this.site.start(`${name}.${this.count++}`, !this.healed)
    const { process } = host
    const run = <A, E>(effect: Effect.Effect<A, E, Transport>, onExit: (exit: Exit.Exit<A, E>) => void = () => {}) =>
      process.fork(
        Effect.flatMap(
          host.transport,
          (transport) => Effect.provideContext(effect, Context.add(process.context, Transport, bug(transport)))
        ),
        (fiber) => fiber.addObserver(onExit)
      )
    const kill = () => {
      process.kill()
      host.close()
    }
    return { host, process, run, kill }
  }

  private worker(index: number): void {
    const { host, kill, process, run } = this.machine(`w${index}`, this.bug)
    const add = (
      { lasts, n }: { readonly n: number; readonly lasts: number },
      state: Actor.ActorState<ReadonlyArray<number>>
    ) =>
      Effect.gen({ self: this }, function*() {
        this.runs++
        this.world.trace(process.name, `begins ${n}`)
        const before = yield* state.get
        yield* Effect.sleep(this.healed ? Math.min(lasts, 20) : lasts)
        yield* state.set([...before, n])
        return before.length
      })
    const program = Effect.scoped(
      Effect.andThen(
        Worker.make({ tasks: Journal.tasks, id: `w${index}`, idleTimeout: 1_000, concurrency: 4 }),
        Effect.never
      )
    ).pipe(Effect.provide(Journal.toLayer({ Add: add }), { local: true }))
    run(Effect.retry(program, { times: 100 }))
    const { random } = this
    const end = () => {
      this.world.trace(process.name, "is killed")
      kill()
      this.world.after(random.int(50, 2_500), () => this.worker(index))
    }
    if (this.healed) return
    const fate = random.weighted({ lives: 2, dies: 4, freezes: 3, isCutOff: 3 })
    const at = random.int(200, 8_000)
    this.world.after(at, () => {
      if (this.healed) return host.heal()
      if (fate === "dies") end()
      if (fate === "freezes") process.freeze(random.int(100, 4_000))
      if (fate === "isCutOff") host.cutOff(random.int(100, 4_000))
    })
    this.world.after(duration, () => host.heal())
  }

  private client(index: number, keys: number): void {
    const { host, run } = this.machine(`c${index}`, (transport) => transport)
    const accepted = new Map<string, Array<number>>()
    const send = Effect.fnUntraced({ self: this }, function*(service: Client.Client["Service"], n: number) {
      const key = `k${this.random.int(1, keys)}`
      const before = accepted.get(key) ?? []
      const one: Sent = { n, key, after: [...before], accepted: false, poison: false, answer: undefined }
      this.sent.push(one)
      const journal = yield* Effect.provideService(Journal.client, Client.Client, service)
      // an id of our own makes a repeat of the enqueue the same message
      const ask = journal(key).Add({ n, lasts: this.random.int(0, 1_500) }, { id: `m${n}`, timeout: "10 minutes" })
      const answered = Effect.retry(ask, {
        while: (error) => error._tag === "TransportError",
        times: 200,
        schedule: Schedule.spaced("100 millis")
      })
      one.answer = yield* Effect.catchTag(answered, "JobFailed", () =>
        Effect.sync(() => {
          one.poison = true
          return undefined
        }))
      if (one.poison) return
      one.accepted = true
      accepted.set(key, [...accepted.get(key) ?? [], n])
    })
    run(Effect.gen({ self: this }, function*() {
      const service = yield* Effect.retry(Scope.provide(Scope.makeUnsafe())(Client.make), { times: 100 })
      const messages = this.random.int(3, 10)
      for (let i = 0; i < messages; i++) {
        this.open++
        const n = 100 * index + i
        yield* Effect.sleep(this.random.int(0, 1_000))
        yield* Effect.forkDetach(
          Effect.ensuring(
            Effect.tapCause(
              send(service, n),
              (cause) => Effect.sync(() => this.world.trace(`c${index}`, `${n}: ${String(cause)}`))
            ),
            Effect.sync(() => this.open--)
          )
        )
      }
    }))
    this.world.after(duration, () => host.heal())
  }

  async run(): Promise<ReadonlyArray<string>> {
    const { random, world } = this
    const keys = random.int(1, 3)
    for (let i = 1; i <= random.int(1, 3); i++) this.worker(i)
    for (let i = 1; i <= random.int(1, 3); i++) this.client(i, keys)
    this.site.strike(duration)
    world.after(duration, () => {
      this.healed = true
    })
    const deadline = world.startedAt + patience
    await world.run(() => (this.healed && this.open === 0) || world.now > deadline)
    const states = new Map<string, ReadonlyArray<number>>()
    let looked = false
    const observer = this.machine("observer", (transport) => transport)
    observer.run(
      Effect.forEach(
        Array.from({ length: keys }, (_, i) => `k${i + 1}`),
        (key) =>
          Effect.map(Journal.state(key), (found) => {
            states.set(key, Option.match(found, { onNone: () => [], onSome: ({ state }) => state }))
          })
      ),
      () => {
        looked = true
      }
    )
    await world.run(() => looked)
    return this.judge(states)
  }

  private judge(states: ReadonlyMap<string, ReadonlyArray<number>>): ReadonlyArray<string> {
    const complaints: Array<string> = []
    for (const { accepted, after, answer, key, n, poison } of this.sent) {
      const applied = states.get(key) ?? []
      const times = applied.filter((other) => other === n).length
      if (poison && times > 0) complaints.push(`message ${n} is poison, and was applied: ${applied.join(" ")}`)
      if (poison) continue
      if (!accepted) complaints.push(`message ${n} was never answered`)
      else if (times !== 1) complaints.push(`message ${n} was applied ${times} times: ${applied.join(" ")}`)
      else if (applied[answer!] !== n) complaints.push(`message ${n} was told ${answer}: ${applied.join(" ")}`)
      const place = applied.indexOf(n)
      for (const other of after) {
        if (applied.indexOf(other) > place) complaints.push(`message ${n} came before ${other}: ${applied.join(" ")}`)
      }
    }
    return complaints
  }
}

export const simulateActors = async (
  seed: number,
  bug: Bug = (transport) => transport,
  site: (world: World, random: Prng) => Site = memory
): Promise<Report> => {
  const play = new Play(seed, bug, site)
  const complaints = await play.run()
  return { seed, complaints, lines: play.world.lines, runs: play.runs, messages: play.sent.length }
}
