/**
 * The transport over the port.
 */
import type { Capabilities, Transport } from "@troupe/core/Transport"
import type { TransportError } from "@troupe/core/TransportError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Scope } from "effect/Scope"
import { Agenda } from "./agenda.ts"
import { NatsBus } from "./bus.ts"
import { BrokerClock } from "./clock.ts"
import type { Context } from "./context.ts"
import { Incarnation } from "./incarnation.ts"
import { Interest } from "./interest.ts"
import { Levels } from "./levels.ts"
import { list } from "./list.ts"
import { locate } from "./locate.ts"
import * as Names from "./names.ts"
import { Publisher } from "./publications.ts"
import { type Limits, Queues, tableConfig } from "./queues.ts"
import { redrive } from "./redrive.ts"
import { revise } from "./revise.ts"
import { Rows } from "./rows.ts"
import { send } from "./send.ts"
import { stats } from "./stats.ts"
import { NatsStore } from "./store.ts"
import type { Streams } from "./streams.ts"
import { subscribe } from "./subscription.ts"
import { withdraw } from "./withdraw.ts"

export interface Options extends Limits {
  /** What the names of all streams and subjects begin with. */
  readonly namespace: string
  readonly durability: Capabilities["durability"]
}

/** Bytes that a row needs beside its envelope: a buried one holds the record, too. */
const room = 64 * 1024

export const make = Effect.fnUntraced(function*(
  streams: Streams,
  options: Options
): Effect.fn.Return<Transport["Service"], TransportError, Scope> {
  const { durability, namespace } = options
  const local = yield* Clock.Clock
  const [one, other] = [yield* Random.nextInt, yield* Random.nextInt]
  const writer = `${Math.abs(one).toString(36)}${Math.abs(other).toString(36)}`
  const table = tableConfig(namespace)
  yield* streams.ensureStream(table)
  const stream = Names.table(namespace)
  const prefix = Names.tablePrefix(namespace)
  const clock = new BrokerClock(streams, local, table, `${prefix}t.${writer}`)
  yield* clock.measure
  yield* Effect.forkScoped(clock.following)
  const incarnation = new Incarnation(streams, stream, `${prefix}i.`)
  yield* incarnation.observe
  yield* incarnation.following
  const interest = new Interest(streams, Names.busPrefix(namespace), () => local.currentTimeMillisUnsafe())
  yield* interest.start
  const agenda = new Agenda(streams, clock)
  let count = 0
  const maxMessageBytes = Math.max(1024, streams.maxPayload - room)
  const context: Context = {
    namespace,
    streams,
    clock,
    queues: new Queues(streams, namespace, options),
    rows: new Rows(streams, clock),
    agenda,
    publisher: new Publisher(streams, clock, agenda),
    levels: new Levels(streams),
    bus: new NatsBus(streams, Names.busPrefix(namespace), interest),
    incarnation,
    maxMessageBytes,
    nonce: () => `${writer}.${(count++).toString(36)}`
  }
  return {
    name: "nats",
    capabilities: {
      durability,
      fencedSettle: false,
      keyedPriority: true,
      durableDeliveryCount: false,
      maxMessageBytes
    },
    clock: Effect.sync(() => clock.now()),
    log: {
      send: (envelopes, generated) => send(context, envelopes, generated),
      subscribe: (options) => subscribe(context, options),
      withdraw: (queue, records) => withdraw(context, queue, records),
      revise: (queue, revisions) => revise(context, queue, revisions),
      locate: (queue, ids) => locate(context, queue, ids),
      stats: (queue) => stats(context, queue),
      list: (queue, place, page) => list(context, queue, place, page),
      redrive: (queue, letters) => redrive(context, queue, letters)
    },
    store: new NatsStore(context),
    bus: context.bus
  }
})
