/**
 * Watches over a connection that is being opened: a silent peer takes it and
 * never gets it ready.
 */
import type { Redis } from "ioredis"

/** ms without an answer after which a connection counts as dead. */
export const silence = 5_000

/**
 * Drops the connection; ioredis opens another one. Not while it still looks for
 * a server: it would give up for good.
 */
export const leave = (redis: Redis): void => {
  if (redis.status === "ready" || redis.status === "connect") redis.disconnect(true)
}

export class Vigil {
  private readonly redis: Redis
  private since: number | undefined = undefined

  constructor(redis: Redis, now: () => number) {
    this.redis = redis
    redis.on("connect", () => {
      this.since = now()
    })
    const over = () => {
      this.since = undefined
    }
    redis.on("ready", over)
    redis.on("close", over)
  }

  /** Called all the time until the connection is closed. Opens another one instead of a dead one. */
  watch(now: number): void {
    if (this.redis.status === "end") this.redis.connect().catch(() => {})
    if (this.since === undefined || now - this.since < silence) return
    this.since = undefined
    leave(this.redis)
  }
}
