/**
 * The log of Redis, put together.
 */
import type { JobLog } from "@troupe/core/JobLog"
import { list } from "./list.ts"
import { locate } from "./locate.ts"
import { redrive } from "./redrive.ts"
import { revise } from "./revise.ts"
import { Sender } from "./send.ts"
import { stats } from "./stats.ts"
import { type Parts, subscribe } from "./subscription.ts"
import { withdraw } from "./withdraw.ts"

export const make = (parts: Parts): JobLog => {
  const { isCluster, keys, link } = parts
  return {
    send: new Sender(link, keys, parts.maxMessageBytes).send,
    subscribe: (options) => subscribe(parts, options),
    withdraw: (queue, records) => withdraw(link, keys, isCluster, queue, records),
    revise: (queue, revisions) => revise(link, keys, isCluster, queue, revisions),
    locate: (queue, ids) => locate(link, keys, queue, ids),
    stats: (queue) => stats(link, keys, queue),
    list: (queue, place, page) => list(link, keys, queue, place, page),
    redrive: (queue, letters) => redrive(link, keys, queue, letters)
  }
}
