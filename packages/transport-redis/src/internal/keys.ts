/**
 * Where everything lies in Redis. `docs/redis.md` describes each key.
 *
 * All keys of a queue share one hash tag, so that they share a slot. The digit
 * is the version of the layout: a release that lays things out differently
 * takes another one and does not touch these.
 */

const layout = "1"

/** Part of a hash tag: `{` and `}` would end it, and an empty one does not count. */
const tag = (name: string): string => name === "" ? "%" : name.replace(/[{}%]/g, encodeURIComponent)

export interface Keys {
  /** What all keys of a queue begin with; scripts get it as `KEYS[1]`. */
  readonly queue: (name: string) => string
  /** What all keys of a collection that is bound to no queue begin with. */
  readonly collection: (name: string) => string
  /** The channel of a client's results. */
  readonly results: (client: string) => string
  /** What the channel of any other topic begins with. */
  readonly topics: string
}

export const make = (prefix: string): Keys => ({
  queue: (name) => `${prefix}:${layout}:q:{${tag(name)}}:`,
  collection: (name) => `${prefix}:${layout}:c:{${tag(name)}}:`,
  results: (client) => `${prefix}:${layout}:r:${client}`,
  topics: `${prefix}:${layout}:b:`
})

/** The consumer group of every stream. */
export const group = "g"

/** The stream of a level, and the one of its jobs that came back: those are read first. */
export const waiting = (level: string): string => `s:${level}`
export const recovered = (level: string): string => `r:${level}`

/** The channel on which a queue announces that its first delayed job is due earlier than before. */
export const control = (base: string): string => `${base}ctl`

/** The channel of the waiters of one job. */
export const job = (base: string, id: string): string => `${base}j:${id}`
