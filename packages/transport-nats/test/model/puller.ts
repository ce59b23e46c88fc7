/**
 * Pull requests of one process to one consumer of the modelled server.
 */
import type { Process } from "../../../core/test/simulation/world.ts"
import type * as Port from "../../src/internal/streams.ts"
import type { Consumer } from "./consumer.ts"
import type { HandedOut, Stored } from "./message.ts"

/** ms that a waiting request lives at the server: of the dead, too. */
const lifeOf = (heartbeat: number): number => Math.ceil(Math.min(33_000, Math.max(1_000, 3.5 * heartbeat)))

/** ms that a message waits for a process at most: one that takes longer stood still. */
const standstill = 500

export const storedOf = ({ bytes, headers, sequence, subject, time }: Stored): Port.Stored => ({
  subject,
  bytes,
  headers,
  sequence,
  timestamp: time
})

/** The way between the process and the server. */
interface Road {
  /** Of all requests that wait. */
  readonly pulls: Set<Pull>
  /** ms until a client notices that a request is lost: signs of life stay away. */
  readonly silence: number
  readonly consumer: (stream: string, name: string) => Consumer | undefined
  readonly request: (run: () => void) => void
  readonly arrive: (run: (waited: number) => void) => void
  readonly after: (milliseconds: number, run: () => void) => void
}

/** A request that waits at the server, or is lost. */
export class Pull {
  drop: () => void = () => {}
  private readonly road: Road
  private readonly onEnd: (mayHaveLost: boolean) => void
  private open = true

  constructor(road: Road, onEnd: (mayHaveLost: boolean) => void) {
    this.road = road
    this.onEnd = onEnd
    road.pulls.add(this)
  }

  finish(mayHaveLost: boolean): void {
    if (!this.open) return
    this.open = false
    this.road.pulls.delete(this)
    this.onEnd(mayHaveLost)
  }

  /** The client notices some time later. */
  lose(): void {
    this.drop()
    this.road.after(this.road.silence, () => this.finish(true))
  }
}

export class Puller implements Port.Puller {
  private readonly road: Road
  private readonly process: Process
  private readonly stream: string
  private readonly consumer: string
  private readonly heartbeat: number
  private onEvent: (event: Port.PullEvent) => void
  private pull: Pull | undefined

  constructor(road: Road, process: Process, options: {
    readonly stream: string
    readonly consumer: string
    readonly heartbeat: number
    readonly onEvent: (event: Port.PullEvent) => void
  }) {
    this.road = road
    this.process = process
    this.stream = options.stream
    this.consumer = options.consumer
    this.heartbeat = options.heartbeat
    this.onEvent = options.onEvent
  }

  request({ batch, wait }: { readonly batch: number; readonly wait: boolean }): void {
    if (this.pull !== undefined) throw new Error("a request is under way")
    const pull = new Pull(this.road, (mayHaveLost) => {
      if (this.pull === pull) this.pull = undefined
      this.process.post(() => this.onEvent({ _tag: "End", mayHaveLost }))
    })
    this.pull = pull
    let left = batch
    let arrived = false
    this.road.request(() => {
      arrived = true
      const found = this.road.consumer(this.stream, this.consumer)
      if (found === undefined || found.suspended) return
      pull.drop = found.pull({
        batch,
        expires: wait ? lifeOf(this.heartbeat) : undefined,
        onMessage: (handedOut) => {
          const last = --left === 0
          this.road.arrive((waited) => {
            if (waited < standstill) this.onEvent({ _tag: "Message", message: deliveredOf(handedOut) })
            else {
              // a process that stood still drops what waited for it: nobody knows for how long
              pull.drop()
              pull.finish(true)
            }
            if (last) pull.finish(false)
          })
        },
        onEnd: () => this.road.arrive(() => pull.finish(false))
      })
    })
    // lost on the way, or nobody there: signs of life stay away
    const silence = wait ? Math.ceil(2 * this.heartbeat) : 2_000
    const look = () => {
      if (this.pull !== pull) return
      const found = this.road.consumer(this.stream, this.consumer)
      if (wait && arrived && found?.waits(pull.drop) === true) return this.road.after(silence, look)
      pull.drop()
      pull.finish(true)
    }
    this.road.after(silence, look)
  }

  cancel(): void {
    const { pull } = this
    if (pull === undefined) return
    this.road.request(() => pull.drop())
    pull.finish(true)
  }

  close(): void {
    this.onEvent = () => {}
    this.cancel()
  }
}

const deliveredOf = ({ deliveries, message, reply }: HandedOut): Port.Delivered => ({
  ...storedOf(message),
  deliveries,
  reply
})
