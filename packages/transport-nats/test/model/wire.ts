/**
 * The port of the transport over the modelled server, as one process has it:
 * requests and replies travel, get lost, come twice, and are retried within.
 */
import { TransportError, Unavailable } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Network } from "../../../core/test/simulation/link.ts"
import type { Prng } from "../../../core/test/simulation/prng.ts"
import type { Process, World } from "../../../core/test/simulation/world.ts"
import { consumerOf, contentOf } from "../../src/internal/message.ts"
import type * as Port from "../../src/internal/streams.ts"
import type { Consumer } from "./consumer.ts"
import { headersOf, type Place } from "./headers.ts"
import { type Pull, Puller, storedOf } from "./puller.ts"
import * as Run from "./run.ts"
import type { CoreMessage, Server } from "./server.ts"
import { settingsOf, type Stream } from "./stream.ts"

/** The server has nobody who answers: no leader, no such stream or consumer. */
const nobody = Symbol("nobody")
type Answer<A> = A | typeof nobody

/** ms for which an operation is retried. */
const patience = 10_000

const unavailable = (operation: string) =>
  new TransportError({ reason: new Unavailable({ operation, description: "the modelled server did not answer" }) })

export class Wire {
  readonly streams: Port.Streams
  private readonly world: World
  private readonly process: Process
  private readonly server: Server
  private readonly random: Prng
  private network: Network
  private cut = false
  private incarnation: number
  private readonly reconnected = new Set<() => void>()
  readonly pulls = new Set<Pull>()
  private readonly release: () => void
  /** When the last of what the server sent on its own arrives. */
  private lastArrival = 0

  constructor(process: Process, server: Server, network: Network, random: Prng) {
    this.world = process.world
    this.process = process
    this.server = server
    this.network = network
    this.random = random
    this.incarnation = server.incarnation
    const hear = (up: boolean) => {
      if (up) return this.world.after(random.int(1, 500), () => this.reconnect())
      for (const pull of Array.from(this.pulls)) pull.lose()
    }
    server.onConnection.add(hear)
    this.release = () => void server.onConnection.delete(hear)
    this.streams = this.make()
  }

  private reconnect(): void {
    if (!this.process.alive || !this.server.up) return
    if (this.cut) return void this.world.after(100, () => this.reconnect())
    this.incarnation = this.server.incarnation
    for (const callback of this.reconnected) this.process.post(callback)
  }

  /** Nothing gets through for so long. `noticed`: the connection is lost. */
  cutOff(milliseconds: number, noticed?: boolean): void {
    if (this.cut) return
    this.world.trace(this.process.name, `is cut off for ${milliseconds} ms`)
    this.cut = true
    const isLost = noticed ?? this.random.chance(0.5)
    if (isLost) { for (const pull of Array.from(this.pulls)) pull.lose() }
    this.world.after(milliseconds, () => {
      this.cut = false
      if (isLost) this.reconnect()
    })
  }

  heal(): void {
    this.cut = false
    this.network = { ...this.network, loseRequest: 0, loseReply: 0, repeat: 0, losePush: 0 }
  }

  /** The process is gone. The server notices, or keeps serving somebody who is not there. */
  close(): void {
    this.release()
    if (this.random.chance(0.7)) { for (const pull of this.pulls) pull.drop() }
  }

  // --- travelling ---

  /** A server that was started again is another one until the connection is there. */
  private get isConnected(): boolean {
    return this.incarnation === this.server.incarnation
  }

  private get latency(): number {
    const { latency } = this.network
    // most messages take little, a few take long
    return latency === 0 ? 0 : this.random.int(0, Math.ceil(this.random.chance(0.1) ? latency : latency / 5))
  }

  private travel(run: () => void): void {
    if (this.network.latency === 0) run()
    else this.world.after(this.latency, run)
  }

  /** What the server sends on its own arrives in order. */
  arrive(run: (waited: number) => void): void {
    this.lastArrival = Math.max(this.lastArrival, this.world.now + this.latency)
    this.world.after(this.lastArrival - this.world.now, () => {
      const { now } = this.world
      if (!this.cut) this.process.post(() => run(this.world.now - now))
    })
  }

  request(run: () => void): void {
    this.travel(() => {
      if (!this.cut && this.isConnected) this.server.handle(run)
    })
  }

  /** One request and its reply. */
  private trip<A>(
    run: (isAgain: boolean) => Answer<A>,
    isAgain: boolean,
    onAnswer: (answer: A) => void,
    onLost: () => void
  ): void {
    const fate = this.random.float()
    const { loseReply, loseRequest, repeat } = this.network
    const requestLost = fate < loseRequest
    const replyLost = !requestLost && fate < loseRequest + loseReply
    const repeated = !requestLost && !replyLost && fate < loseRequest + loseReply + repeat
    let open = true
    const end = (then: () => void) =>
      this.process.post(() => {
        if (!open) return
        open = false
        then()
      })
    const lost = () => this.world.after(this.random.int(200, 1_500), () => end(onLost))
    this.travel(() => {
      if (this.cut || requestLost || !this.server.up || !this.isConnected) return void lost()
      // a crash before the server gets to it
      const giveUp = this.world.after(5_000, () => end(onLost))
      this.server.handle(() => {
        giveUp()
        const answer = this.server.leaderless ? nobody : run(isAgain)
        if (answer === nobody) return void this.world.after(this.random.int(5, 100), () => end(onLost))
        if (replyLost || this.cut) return void lost()
        this.travel(() => this.cut ? lost() : end(() => onAnswer(answer)))
      })
      // a retry that overtook what it repeats: it does not outlive the server
      if (repeated) {
        const { incarnation } = this.server
        this.world.after(this.random.int(0, 2_000), () =>
          this.server.handle(() => {
            if (!this.server.leaderless && incarnation === this.server.incarnation) run(isAgain)
          }))
      }
    })
  }

  private call<A>(operation: string, run: (isAgain: boolean) => Answer<A>): Effect.Effect<A, TransportError> {
    return Effect.callback<A, TransportError>((resume) => {
      const until = this.world.now + patience
      let waiting = true
      let tries = 0
      const attempt = () => {
        if (!waiting) return
        if (this.world.now > until) return resume(Effect.fail(unavailable(operation)))
        this.trip(run, tries++ > 0, (answer) => resume(Effect.succeed(answer)), attempt)
      }
      attempt()
      return Effect.sync(() => {
        waiting = false
      })
    })
  }

  private stream(name: string): Stream | undefined {
    return this.server.streams.get(name)
  }

  consumer(stream: string, name: string): Consumer | undefined {
    return this.stream(stream)?.consumers.get(name)
  }

  private store(message: Port.Publish, isAgain: boolean, place: Place | undefined): Answer<Port.Published> {
    const stream = this.server.streamOf(message.subject)
    if (stream === undefined) return nobody
    const answer = stream.publish(message.subject, headersOf(message, isAgain, place), contentOf(message))
    if (answer._tag === "Stored") {
      return { _tag: answer.duplicate ? "Duplicate" : "Stored", sequence: answer.sequence }
    }
    return answer.code === 10071 ? { _tag: "WrongSequence" } : { _tag: "Full", description: answer.description }
  }

  /** `place`: it was sent in a run before. */
  private publishOne(message: Port.Publish, place?: Place): Effect.Effect<Port.Published> {
    return Effect.catch(
      this.call("publish", (isAgain) => this.store(message, isAgain || place !== undefined, place)),
      (error) => Effect.succeed<Port.Published>({ _tag: "Failed", error })
    )
  }

  private publishEach(messages: ReadonlyArray<Port.Publish>, place?: Place) {
    return Effect.forEach(messages, (message) => this.publishOne(message, place), { concurrency: "unbounded" })
  }

  /** The server is asked about the last one only. Whatever it says but that it was stored, each goes its own way. */
  private publishRun(messages: ReadonlyArray<Port.Publish>): Effect.Effect<ReadonlyArray<Port.Published>> {
    const isStored = Run.send(messages, {
      tell: (message, place, then) => {
        // a connection loses all that follows, too: here one may be lost alone
        const isLost = this.random.chance(this.network.loseRequest)
        this.travel(() => {
          const store = () => void (this.server.leaderless || this.store(message, false, place))
          if (!isLost && !this.cut && this.isConnected) this.server.handle(store)
          then()
        })
      },
      ask: (message, place, then) =>
        this.trip(() => this.store(message, false, place), false, then, () => then(undefined))
    })
    return Effect.flatMap(
      isStored,
      (stored) => stored ? Effect.succeed(messages.map(() => Run.stored)) : this.publishEach(messages, Run.alone)
    )
  }

  private acknowledgeOne(reply: string, how: Port.Acknowledgement): Effect.Effect<void, TransportError> {
    const [, , stream = "", consumer = "", , sequence] = reply.split(".")
    return this.call("acknowledge", () => {
      const found = this.consumer(stream, consumer)
      if (found === undefined) return nobody
      if (how._tag === "Done") found.answer(Number(sequence), "ack")
      else if (how._tag === "Working") found.answer(Number(sequence), "progress")
      else found.answer(Number(sequence), "nak", Math.ceil(how.milliseconds))
    })
  }

  private acknowledgeUnconfirmed(reply: string): Effect.Effect<void> {
    const [, , stream = "", consumer = "", , sequence] = reply.split(".")
    return Effect.sync(() => {
      const { loseReply, loseRequest } = this.network
      if (this.random.float() < loseRequest + loseReply) return
      this.request(() => this.consumer(stream, consumer)?.answer(Number(sequence), "ack"))
    })
  }

  private make(): Port.Streams {
    const { server } = this
    const present = <A>(stream: string, use: (stream: Stream) => A) => () => {
      const found = this.stream(stream)
      return found === undefined ? nobody : use(found)
    }
    return {
      publish: (messages, stream) =>
        stream === undefined
          ? this.publishEach(messages)
          : Effect.map(
            Effect.forEach(
              Run.split(messages, this.random),
              (some) => some.length === 1 ? this.publishEach(some) : this.publishRun(some),
              { concurrency: "unbounded" }
            ),
            (answers) => answers.flat()
          ),
      last: (stream, subjects) =>
        this.call(
          "last",
          present(stream, (found) =>
            subjects.map((subject) => {
              const message = found.last(subject)
              return message && storedOf(message)
            }))
        ),
      at: (stream, sequences) =>
        this.call(
          "at",
          present(stream, (found) =>
            sequences.map((sequence) => {
              const message = found.messages.get(sequence)
              return message && storedOf(message)
            }))
        ),
      next: (stream, filter, sequence) =>
        this.call(
          "next",
          present(stream, (found) => {
            const message = found.next(filter, sequence)
            return message && storedOf(message)
          })
        ),
      purge: (stream, filter, below) =>
        // nothing is below the first sequence, but the server would take it for none
        below !== undefined && below <= 1
          ? Effect.succeed(0)
          : this.call("purge", present(stream, (found) => found.purge(filter, below))),
      remove: (stream, sequences) =>
        this.call(
          "remove",
          present(stream, (found) => {
            for (const sequence of sequences) found.remove(sequence)
          })
        ),
      acknowledge: (replies, how) =>
        Effect.forEach(replies, (reply) => this.acknowledgeOne(reply, how), {
          concurrency: "unbounded",
          discard: true
        }),
      // the server is asked about the last one of each consumer: here any other may be lost, and more often than it is
      finish: (replies) =>
        Effect.forEach(
          replies,
          (reply, index) =>
            replies.slice(index + 1).some((other) => consumerOf(other) === consumerOf(reply))
              ? this.acknowledgeUnconfirmed(reply)
              : this.acknowledgeOne(reply, { _tag: "Done" }),
          { concurrency: "unbounded", discard: true }
        ),
      ensureStream: (config) =>
        this.call("ensureStream", () => {
          if (this.stream(config.name) === undefined) server.addStream(settingsOf(config))
        }),
      streamInfo: (stream, subjects) =>
        this.call("streamInfo", () => {
          const found = this.stream(stream)
          if (found === undefined) return undefined
          const messages = found.inOrder()
          return {
            messages: messages.length,
            bytes: found.bytes,
            firstSequence: messages[0]?.sequence ?? found.lastSequence + 1,
            lastSequence: found.lastSequence,
            subjects: subjects === undefined ? new Map() : found.subjects(subjects)
          }
        }),
      ensureConsumer: ({ ackWait, filter, name, stream }) =>
        this.call(
          "ensureConsumer",
          present(stream, (found) => {
            found.addConsumer({ name, filter, ackWait, maxAckPending: -1 })
          })
        ),
      consumerInfo: (stream, name) =>
        this.call("consumerInfo", () => {
          const found = this.consumer(stream, name)
          if (found === undefined) return undefined
          const { ackFloor, delivered, numAckPending, numPending } = found.info
          return {
            ackWait: found.settings.ackWait,
            delivered,
            ackFloor,
            pending: numPending,
            ackPending: numAckPending
          }
        }),
      deleteConsumer: (stream, name) => this.call("deleteConsumer", () => void server.deleteConsumer(stream, name)),
      puller: (stream, consumer, heartbeat, onEvent) =>
        Effect.acquireRelease(
          Effect.sync(() => new Puller(this, this.process, { stream, consumer, heartbeat, onEvent })),
          (puller) => Effect.sync(() => puller.close())
        ),
      broadcast: (subject, bytes) =>
        Effect.sync(() => this.request(() => server.publish({ subject, headers: new Map(), bytes }))),
      listen: (subjects, onMessage) =>
        Effect.acquireRelease(
          this.call("listen", () => {
            const hear = (message: CoreMessage) => {
              if (!this.isConnected || this.random.chance(this.network.losePush)) return
              this.arrive(() => onMessage(message.subject, message.bytes))
            }
            return subjects.map((subject) => server.listen(subject, hear))
          }),
          (ends) => Effect.sync(() => this.request(() => ends.forEach((end) => end())))
        ),
      incarnation: () => String(this.incarnation),
      onReconnect: (callback) =>
        Effect.acquireRelease(
          Effect.sync(() => void this.reconnected.add(callback)),
          () => Effect.sync(() => void this.reconnected.delete(callback))
        ),
      maxPayload: 1_048_576
    }
  }

  get silence(): number {
    return this.random.int(200, 3_000)
  }

  after(milliseconds: number, run: () => void): void {
    this.world.after(milliseconds, run)
  }
}
