/**
 * The connection of one process to the broker: every operation is a request
 * and a reply that travel, and either can get lost.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { JobLog, Subscription } from "../../src/JobLog.ts"
import type { Store } from "../../src/Store.ts"
import type { Transport } from "../../src/Transport.ts"
import { TransportError, Unavailable } from "../../src/TransportError.ts"
import type { Prng } from "./prng.ts"
import type { Process, World } from "./world.ts"

/** How bad a network is. Probabilities count per operation. */
export interface Network {
  /** Greatest latency of one direction, ms; 0 is a loopback. */
  readonly latency: number
  readonly loseRequest: number
  readonly loseReply: number
  /** The request arrives twice, the second time late. */
  readonly repeat: number
  readonly losePush: number
}

export const perfect: Network = { latency: 0, loseRequest: 0, loseReply: 0, repeat: 0, losePush: 0 }

/** One that may be bad, drawn by chance. */
export const networkOf = (random: Prng): Network => {
  const p = random.pick([0, 0.01, 0.05])
  return {
    latency: random.pick([0, 5, 40]),
    loseRequest: p,
    loseReply: p,
    repeat: p,
    losePush: random.pick([0, 0.5])
  }
}

export const isLossy = ({ loseReply, loseRequest, repeat }: Network): boolean => loseReply + loseRequest + repeat > 0

type Operation = keyof JobLog | keyof Subscription | "clock" | "publish" | `store.${keyof Store}` | "bus.subscribe"

/** What may come twice, and how many ms late. */
const repeatable: { readonly [K in Operation]?: number } = {
  send: 2_000,
  settle: 2_000,
  extend: 500,
  withdraw: 0,
  revise: 2_000
}

const unavailable = (operation: Operation, description: string) =>
  Exit.fail(new TransportError({ reason: new Unavailable({ operation, description }) }))

export class Link {
  readonly transport: Transport["Service"]
  private readonly world: World
  private readonly process: Process
  private readonly broker: Process
  private readonly random: Prng
  private network: Network
  private cut = false
  private readonly pulls = new Set<Fiber.Fiber<unknown, unknown>>()
  private readonly scopes = new Set<Scope.Closeable>()

  constructor(process: Process, broker: Process, inner: Transport["Service"], network: Network, random: Prng) {
    this.world = process.world
    this.process = process
    this.broker = broker
    this.network = network
    this.random = random
    this.transport = this.wrap(inner)
  }

  /** Nothing gets through for so long; who waits for an answer is told some time later. */
  cutOff(milliseconds: number): void {
    if (this.cut) return
    this.cut = true
    // the broker notices, or keeps serving a peer that is not there
    if (this.random.chance(0.5)) this.endPulls()
    this.world.after(milliseconds, () => {
      this.cut = false
    })
  }

  /** Pulls that wait at the broker. */
  get waitingPulls(): number {
    return this.pulls.size
  }

  heal(): void {
    this.cut = false
    this.network = { ...perfect, latency: this.network.latency }
  }

  /** The broker sees the connection close. */
  close(): void {
    this.endPulls()
    for (const scope of this.scopes) this.broker.fork(Scope.close(scope, Exit.void))
    this.scopes.clear()
  }

  private endPulls(): void {
    for (const fiber of this.pulls) this.broker.post(() => fiber.interruptUnsafe())
    this.pulls.clear()
  }

  private travel(run: () => void): void {
    const { latency } = this.network
    if (latency === 0) return run()
    // most messages take little, a few take long
    const most = this.random.chance(0.1) ? latency : latency / 5
    this.world.after(this.random.int(0, Math.ceil(most)), run)
  }

  private call<A, E>(operation: Operation, run: Effect.Effect<A, E>): Effect.Effect<A, E | TransportError> {
    return Effect.callback<A, E | TransportError>((resume) => {
      let waiting = true
      let pulling: Fiber.Fiber<A, E> | undefined
      const answer = (exit: Exit.Exit<A, E | TransportError>) =>
        this.process.post(() => {
          if (!waiting) return
          waiting = false
          resume(exit)
        })
      const giveUp = (description: string) => {
        this.world.after(this.random.int(1, 1_500), () => answer(unavailable(operation, description)))
      }
      const fate = this.random.float()
      const { loseReply, loseRequest, repeat } = this.network
      const requestLost = fate < loseRequest
      const replyLost = !requestLost && fate < loseRequest + loseReply
      const lateness = repeatable[operation]
      const repeated = lateness !== undefined && !requestLost && !replyLost && fate < loseRequest + loseReply + repeat
      const atBroker = (onExit: (exit: Exit.Exit<A, E>) => void) =>
        this.broker.fork(run, (fiber) => {
          if (operation === "pull") {
            pulling = fiber
            this.pulls.add(fiber)
          }
          fiber.addObserver((exit) => {
            this.pulls.delete(fiber)
            onExit(exit)
          })
        })
      this.travel(() => {
        if (this.cut || requestLost) return giveUp("the request was lost")
        atBroker((exit) => {
          // the connection closed under a waiting pull
          const closed = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
          if (this.cut || replyLost || closed) return giveUp("the reply was lost")
          this.travel(() => this.cut ? giveUp("the reply was lost") : answer(exit))
        })
        if (repeated) this.world.after(this.random.int(0, lateness), () => atBroker(() => {}))
      })
      return Effect.sync(() => {
        waiting = false
        if (operation !== "pull") return
        // what the broker hands out before it hears of this is nobody's until its lease ends
        this.travel(() => {
          if (!this.cut) this.broker.post(() => pulling?.interruptUnsafe())
        })
      })
    })
  }

  /** What the effect acquires stays at the broker until the scope here closes or the connection does. */
  private acquire<A, E>(operation: Operation, run: Effect.Effect<A, E, Scope.Scope>) {
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen({ self: this }, function*() {
        const scope = Scope.makeUnsafe()
        this.scopes.add(scope)
        const release = () =>
          this.travel(() => {
            if (!this.cut && this.scopes.delete(scope)) this.broker.fork(Scope.close(scope, Exit.void))
          })
        yield* Effect.addFinalizer(() => Effect.sync(release))
        return yield* restore(this.call(operation, Scope.provide(scope)(run)))
      })
    )
  }

  private wrap({ bus, capabilities, clock, log, name, store }: Transport["Service"]): Transport["Service"] {
    return {
      name,
      capabilities,
      clock: this.call("clock", clock),
      log: {
        send: (envelopes) => this.call("send", log.send(envelopes)),
        subscribe: (options) =>
          Effect.map(this.acquire("subscribe", log.subscribe(options)), (subscription) => ({
            pull: (max) => this.call("pull", subscription.pull(max)),
            extend: (deliveries) => this.call("extend", subscription.extend(deliveries)),
            settle: (settlements) => this.call("settle", subscription.settle(settlements))
          })),
        withdraw: (queue, records) => this.call("withdraw", log.withdraw(queue, records)),
        revise: (queue, revisions) => this.call("revise", log.revise(queue, revisions)),
        locate: (queue, ids) => this.call("locate", log.locate(queue, ids)),
        stats: (queue) => this.call("stats", log.stats(queue)),
        list: (queue, place, page) => this.call("list", log.list(queue, place, page)),
        redrive: (queue, letters) => this.call("redrive", log.redrive(queue, letters))
      },
      store: {
        get: (collection, keys) => this.call("store.get", store.get(collection, keys)),
        put: (collection, key, value, options) => this.call("store.put", store.put(collection, key, value, options)),
        remove: (collection, key, options) => this.call("store.remove", store.remove(collection, key, options)),
        list: (collection, page) => this.call("store.list", store.list(collection, page))
      },
      bus: {
        publish: (topic, bytes) => this.call("publish", bus.publish(topic, bytes)),
        subscribe: (prefix, onMessage) =>
          this.acquire(
            "bus.subscribe",
            bus.subscribe(prefix, (message) => {
              if (this.cut || this.random.chance(this.network.losePush)) return
              this.travel(() => this.process.post(() => onMessage(message)))
            })
          )
      }
    }
  }
}
