/**
 * Opens connections and waits until they are up.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import { type Cluster, Redis, type RedisOptions } from "ioredis"
import * as Errors from "./errors.ts"

/** What every connection of ours is opened with, whatever the user says. */
const ours: RedisOptions = {
  // scripts and streams answer in the shapes of protocol 2
  protocol: 2,
  // the link repeats by itself, and only what may be repeated
  autoResendUnfulfilledCommands: false,
  enableOfflineQueue: false,
  maxRetriesPerRequest: null,
  enableAutoPipelining: false,
  lazyConnect: true,
  // the hub subscribes again by itself
  autoResubscribe: false,
  // needs a right that 7.0 does not know
  disableClientInfo: true,
  // a silent peer never answers our goodbye
  disconnectTimeout: 200,
  retryStrategy: (times) => Math.min(2_000, 25 * 2 ** Math.min(times, 7))
}

/** Where Redis is. Exactly one of the ways to say so. */
export type Target =
  | { readonly _tag: "Single"; readonly url: string | undefined; readonly options: RedisOptions }
  | { readonly _tag: "Client"; readonly client: Redis }

const isAuthentication = (message: string): boolean =>
  /WRONGPASS|NOAUTH|invalid password|invalid username|NOPERM|without any password configured/i.test(message)

export const open = (target: Target, name: string): Redis => {
  const redis = create(target, name)
  // without a listener ioredis prints errors: the link reports what matters
  redis.on("error", () => {})
  return redis
}

const create = (target: Target, name: string): Redis => {
  const options: RedisOptions = { ...ours, connectionName: `troupe-${name}` }
  switch (target._tag) {
    case "Single": {
      const all: RedisOptions & { replyMapping: "legacy" } = {
        ...target.options,
        ...options,
        replyMapping: "legacy"
      }
      return target.url === undefined ? new Redis(all) : new Redis(target.url, all)
    }
    case "Client":
      return target.client.duplicate(options)
  }
}

/** Waits until the connection is up. Fails only where waiting cannot help. */
export const whenReady = (redis: Redis | Cluster, name: string): Effect.Effect<void, TransportError> =>
  Effect.callback<void, TransportError>((resume) => {
    if (redis.status === "ready") return resume(Effect.void)
    const onReady = () => {
      stop()
      resume(Effect.void)
    }
    const onError = (error: Error) => {
      if (!isAuthentication(error.message)) return
      stop()
      redis.disconnect()
      resume(
        Effect.fail(
          Errors.refused(`the ${name} connection`, `${error.message.trim()}: check user name, password and ACL`, error)
        )
      )
    }
    const stop = () => {
      redis.off("ready", onReady)
      redis.off("error", onError)
    }
    redis.on("ready", onReady)
    redis.on("error", onError)
    if (redis.status === "wait") redis.connect().catch(() => {})
    return Effect.sync(stop)
  })
