/**
 * Asks how many replicas have what was written on a connection.
 *
 * Redis holds up the connection until it can say so: there is one question at a
 * time, for all that was written before it.
 */
import type { Redis } from "ioredis"
import { BatchCommand } from "./command.ts"

/** ms that Redis waits for replicas before it answers how many there are. */
const patience = 200

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class Copies {
  private readonly redis: Redis
  private readonly wanted: number
  private waiters: Array<Waiter> = []
  private asking = false
  /** Counts connections: ioredis leaves what was asked on a lost one without an answer. */
  private epoch = 0

  constructor(redis: Redis, wanted: number) {
    this.redis = redis
    this.wanted = wanted
  }

  /** Resolves when as many replicas as wanted have all that was sent so far. */
  made(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiters.push({ resolve, reject })
      if (!this.asking) this.ask()
    })
  }

  /** The connection is lost: nobody waits for an answer on it any more. */
  lost(): void {
    this.epoch++
    this.waiters = []
    this.asking = false
  }

  private ask(): void {
    const asked = this.waiters
    const { epoch } = this
    this.waiters = []
    this.asking = true
    const over = (tell: (waiter: Waiter) => void) => {
      if (epoch !== this.epoch) return
      this.asking = false
      for (const waiter of asked) tell(waiter)
      if (this.waiters.length > 0 && !this.asking) this.ask()
    }
    const wait = new BatchCommand("wait", [], [String(this.wanted), String(patience)])
    wait.promise.then((count: unknown) => {
      if (Number(count) >= this.wanted) return over(({ resolve }) => resolve())
      const error = new Error(`only ${Number(count)} of ${this.wanted} replicas have it`)
      over(({ reject }) => reject(error))
    }, (error: unknown) => over(({ reject }) => reject(error)))
    this.redis.sendCommand(wait)
  }
}
