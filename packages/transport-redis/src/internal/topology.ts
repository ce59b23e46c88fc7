/**
 * The connections of a transport, whatever kind of Redis it is.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Scope } from "effect/Scope"
import type { Redis } from "ioredis"
import { ClusterLink } from "./cluster.ts"
import * as Connect from "./connect.ts"
import { type Dispatcher, type Link, type Settings, settings, SingleLink } from "./link.ts"
import type { Address, Target } from "./target.ts"
import { leave } from "./vigil.ts"

export interface Topology {
  readonly link: Dispatcher
  readonly isCluster: boolean
  /** A link to every server that takes jobs. */
  readonly masters: () => ReadonlyArray<Link>
  readonly openSubscriber: Effect.Effect<Redis, TransportError, Scope>
  /** A connection of its own to the server that has the keys that begin so; it moves with them. */
  readonly openBlocking: (base: string) => Effect.Effect<Redis, TransportError, Scope>
}

/** Closed with the scope. */
const opened = (open: () => Redis, name: string): Effect.Effect<Redis, TransportError, Scope> =>
  Effect.acquireRelease(Effect.sync(open), (redis) => Effect.sync(() => redis.disconnect())).pipe(
    Effect.tap((redis) => Connect.whenReady(redis, name))
  )

const scoped = <L extends Dispatcher>(make: () => L): Effect.Effect<L, never, Scope> =>
  Effect.acquireRelease(Effect.sync(make), (link) => Effect.sync(() => link.close())).pipe(
    Effect.tap((link) => Effect.forkScoped(link.watching, { startImmediately: true }))
  )

const single = Effect.fnUntraced(function*(
  target: Exclude<Target, { readonly _tag: "Cluster" }>,
  common: Settings
): Effect.fn.Return<Topology, TransportError, Scope> {
  const link = yield* scoped(() => new SingleLink(Connect.open(target, "command", common.random, true), common))
  const command = link.wire.redis
  yield* Connect.whenReady(command, "command")
  /** When the Sentinels name another master, all connections leave the old one. */
  const followers = new Set<Redis>()
  if (Connect.hasSentinels(target)) command.on("close", () => followers.forEach(leave))
  const following = (name: string) =>
    Effect.gen(function*() {
      const redis = yield* opened(() => Connect.open(target, name, common.random), name)
      followers.add(redis)
      yield* Effect.addFinalizer(() => Effect.sync(() => followers.delete(redis)))
      return redis
    })
  return {
    link,
    isCluster: false,
    masters: () => [link],
    openSubscriber: following("subscriber"),
    openBlocking: () => following("blocking")
  }
})

const cluster = Effect.fnUntraced(function*(
  { natMap, options, seeds }: Extract<Target, { readonly _tag: "Cluster" }>,
  common: Settings
): Effect.fn.Return<Topology, TransportError, Scope> {
  const start = yield* Random.nextIntBetween(0, 1_000)
  const open = (address: Address) => Connect.openAt(address, options, "command", common.random)
  const link = yield* scoped(() => new ClusterLink({ ...common, open, seeds, natMap, start }))
  yield* Effect.raceAllFirst(link.begun().map((redis) => Connect.whenReady(redis, "command")))
  yield* link.viewed
  /** Opens a connection that leaves a server when it should be elsewhere. */
  const roaming = (name: string, next: () => Address, isRight: (address: Address) => boolean) =>
    Effect.suspend(() => {
      const { address, redis } = Connect.openRoaming(next, options, name, common.random)
      const onChange = () => {
        const where = address()
        if (where !== undefined && !isRight(where)) leave(redis)
      }
      link.onChange.add(onChange)
      // what was right when it set out need not be so when it arrives
      redis.on("ready", onChange)
      return Effect.andThen(
        Effect.addFinalizer(() => Effect.sync(() => link.onChange.delete(onChange))),
        opened(() => redis, name)
      )
    })
  return {
    link,
    isCluster: true,
    masters: () => link.masters.map((wire) => link.over(wire)),
    // messages reach every server of a cluster
    openSubscriber: roaming("subscriber", () => link.someMaster(), (address) => link.knows(address)),
    openBlocking: (base) => {
      const next = () => link.ownerOf(base) ?? link.someMaster()
      return roaming("blocking", next, (address) => {
        const owner = link.ownerOf(base)
        return owner === undefined || (owner.host === address.host && owner.port === address.port)
      })
    }
  }
})

/** Waits until Redis is up. Fails at once where waiting cannot help. */
export const open = (
  target: Target,
  patience: number,
  replicas: number
): Effect.Effect<Topology, TransportError, Scope> =>
  Effect.flatMap(
    settings(patience, replicas),
    (common) => target._tag === "Cluster" ? cluster(target, common) : single(target, common)
  )
