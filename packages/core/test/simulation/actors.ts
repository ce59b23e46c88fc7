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
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Actor from "../../src/Actor.ts"
import * as Client from "../../src/Client.ts"
import * as MemoryTransport from "../../src/MemoryTransport.ts"
import * as Task from "../../src/Task.ts"
import { Transport } from "../../src/Transport.ts"
import * as Worker from "../../src/Worker.ts"
import { Link, type Network, perfect } from "./link.ts"
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

/** ms of virtual time after which everything must be over. */
const patience = 900_000

class Play {
  readonly world: World
  readonly sent: Array<Sent> = []
  runs = 0
  private readonly random: Prng
  private readonly broker: Process
  private readonly inner: Transport["Service"]
  private readonly bug: Bug
  private network: Network
  private healed = false
  private open = 0
  private count = 0

  constructor(seed: number, bug: Bug) {
    const random = new Prng(`actors ${seed}`)
    this.random = random.fork("play")
    this.world = new World(random.fork("order"))
    this.broker = new Process(this.world, "broker", random.fork("broker"))
    const services = Effect.runSyncWith(this.broker.context)(
      Layer.buildWithScope(MemoryTransport.layer, Scope.makeUnsafe())
    )
    this.inner = Context.get(services, Transport)
    this.bug = bug
    const p = this.random.pick([0, 0.01, 0.05])
    this.network = {
      latency: this.random.pick([0, 5, 40]),
      loseRequest: p,
      loseReply: p,
      repeat: p,
      losePush: this.random.pick([0, 0.5])
    }
  }

  private machine(name: string, bug: Bug) {
    const id = `${name}.${this.count++}`
    const process = new Process(this.world, id, this.random.fork(`random ${id}`))
    const link = new Link(process, this.broker, this.inner, this.network, this.random.fork(`link ${id}`))
    const context = Context.add(process.context, Transport, bug(link.transport))
    const run = <A, E>(effect: Effect.Effect<A, E, Transport>, onExit: (exit: Exit.Exit<A, E>) => void = () => {}) =>
      process.fork(Effect.provideContext(effect, context), (fiber) => fiber.addObserver(onExit))
    const kill = () => {
      process.kill()
      link.close()
    }
    return { process, link, run, kill }
  }

  private worker(index: number): void {
    const { kill, link, process, run } = this.machine(`w${index}`, this.bug)
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
      if (this.healed) return link.heal()
      if (fate === "dies") end()
      if (fate === "freezes") process.freeze(random.int(100, 4_000))
      if (fate === "isCutOff") link.cutOff(random.int(100, 4_000))
    })
    this.world.after(20_000, () => link.heal())
  }

  private client(index: number, keys: number): void {
    const { link, run } = this.machine(`c${index}`, (transport) => transport)
    const accepted = new Map<string, Array<number>>()
    const send = Effect.fnUntraced({ self: this }, function*(service: Client.Client["Service"], n: number) {
      const key = `k${this.random.int(1, keys)}`
      const before = accepted.get(key) ?? []
      const one: Sent = { n, key, after: [...before], accepted: false, poison: false, answer: undefined }
      this.sent.push(one)
      const journal = yield* Effect.provideService(Journal.client, Client.Client, service)
      // an id of our own makes a repeat of the enqueue the same message
      const ask = journal(key).Add({ n, lasts: this.random.int(0, 1_500) }, { id: `m${n}`, timeout: "10 minutes" })
      const answered = Effect.retry(ask, { while: (error) => error._tag === "TransportError", times: 200 })
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
    this.world.after(20_000, () => link.heal())
  }

  async run(): Promise<ReadonlyArray<string>> {
    const { random, world } = this
    const keys = random.int(1, 3)
    for (let i = 1; i <= random.int(1, 3); i++) this.worker(i)
    for (let i = 1; i <= random.int(1, 3); i++) this.client(i, keys)
    world.after(20_000, () => {
      this.healed = true
      this.network = perfect
    })
    const deadline = world.startedAt + patience
    await world.run(() => (this.healed && this.open === 0) || world.now > deadline)
    const states = new Map<string, ReadonlyArray<number>>()
    let looked = false
    this.broker.fork(
      Effect.forEach(
        Array.from({ length: keys }, (_, i) => `k${i + 1}`),
        (key) =>
          Effect.map(Journal.state(key), (found) => {
            states.set(key, Option.match(found, { onNone: () => [], onSome: ({ state }) => state }))
          })
      ).pipe(Effect.provideService(Transport, this.inner)),
      (fiber) =>
        fiber.addObserver(() => {
          looked = true
        })
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

export const simulateActors = async (seed: number, bug: Bug = (transport) => transport): Promise<Report> => {
  const play = new Play(seed, bug)
  const complaints = await play.run()
  return { seed, complaints, lines: play.world.lines, runs: play.runs, messages: play.sent.length }
}
