/**
 * The link to a Redis Cluster: a connection to each master, and who has which
 * slot.
 *
 * All keys of a request share a slot. While a slot moves between servers its
 * requests wait: a script that ran where only a part of the keys is would take
 * the others for absent.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Redis } from "ioredis"
import * as Errors from "./errors.ts"
import { Dispatcher, Lane, type Link, type Settings } from "./link.ts"
import * as Slots from "./slots.ts"
import type { Address, NatMap } from "./target.ts"
import { type Request, type Sent, Wire } from "./wire.ts"

interface Node {
  readonly address: Address
  readonly wire: Wire
}

/** ms between two questions who has what: while all is well, and while something is not. */
const askEvery = { well: 5_000, ill: 250 }

/** ms after which an answer is no news, and a master that owes one may have been replaced. */
const stale = 1_000

const isWell = (wire: Wire, now: number): boolean => wire.isReady && wire.silentFor(now) < stale

/** Commands without a key: any server will do. */
const keyless = new Set(["client", "cluster", "config", "info", "ping", "publish", "time"])

const nameOf = ({ host, port }: Address): string => `${host}:${port}`

export class ClusterLink extends Dispatcher {
  private readonly open: (address: Address) => Redis
  private readonly seeds: ReadonlyArray<Address>
  private readonly natMap: NatMap | undefined
  private readonly nodes = new Map<string, Node>()
  private owners: Array<Node | undefined> = []
  /** All servers, replicas too. */
  private known = new Set<string>()
  /** What the last answer said, to see whether the next one says something else. */
  private last = ""
  private asked = 0
  private askAt = -Infinity
  /** Called when slots or servers have changed. */
  readonly onChange = new Set<() => void>()
  /** Called with why nobody tells who has what. */
  private readonly onRefused = new Set<(error: TransportError) => void>()

  constructor(
    settings: Settings & {
      readonly open: (address: Address) => Redis
      readonly seeds: ReadonlyArray<Address>
      readonly natMap: NatMap | undefined
      /** Where to begin asking, so that not all clients ask the same server. */
      readonly start: number
    }
  ) {
    super(settings)
    this.open = settings.open
    this.seeds = settings.seeds
    this.natMap = settings.natMap
    this.asked = settings.start
  }

  protected get wires(): ReadonlyArray<Wire> {
    return [...this.nodes.values()].map(({ wire }) => wire)
  }

  get isReady(): boolean {
    return this.wires.some((wire) => wire.isReady)
  }

  /** Connections to all masters; before the first answer, to where it begins. */
  get masters(): ReadonlyArray<Wire> {
    return this.wires
  }

  protected route({ pinned, slot }: Sent): Wire | undefined {
    const wire = pinned ?? (slot < 0 ? this.wires.find((wire) => wire.isReady) : this.owners[slot]?.wire)
    return wire?.isReady === true ? wire : undefined
  }

  protected slotOf({ args, command, script }: Request): number {
    if (keyless.has(command)) return -1
    // a script tells first how many keys follow
    const key = args[script === undefined ? 0 : 1]
    return key === undefined ? -1 : Slots.slotOf(String(key))
  }

  readonly at = (base: string): Link => {
    const slot = Slots.slotOf(base)
    return new Lane(this, slot, undefined, () => this.owners[slot]?.wire.isReady === true)
  }

  // --- who has what ---

  /** Where the keys that begin so are, as far as we know. */
  ownerOf(base: string): Address | undefined {
    return this.owners[Slots.slotOf(base)]?.address
  }

  /** Some master: those that answer come first, and not always the same. */
  someMaster(): Address {
    const ready = [...this.nodes.values()].filter(({ wire }) => wire.isReady).map(({ address }) => address)
    const all = ready.length > 0 ? ready : this.seeds
    return all[this.asked++ % all.length]!
  }

  knows(address: Address): boolean {
    return this.known.has(nameOf(address))
  }

  readonly learn = (error: unknown): void => {
    const moved = Errors.movedTo(error)
    if (moved === undefined) return
    if (moved.host !== "") this.owners[moved.slot] = this.nodeAt(this.mapped(moved))
    this.last = ""
    this.askAt = -Infinity
  }

  private mapped(address: Address): Address {
    const { natMap } = this
    const other = typeof natMap === "function" ? natMap(nameOf(address)) : natMap?.[nameOf(address)]
    return other ?? address
  }

  private nodeAt(address: Address): Node {
    const name = nameOf(address)
    let node = this.nodes.get(name)
    if (node === undefined) {
      const redis = this.open(address)
      node = { address, wire: new Wire(redis, `command (${name})`, this) }
      this.nodes.set(name, node)
      if (redis.status === "wait") redis.connect().catch(() => {})
    }
    return node
  }

  /** Begins; `viewed` tells when it knows who has what. */
  begun(): ReadonlyArray<Redis> {
    return this.seeds.map((seed) => this.nodeAt(seed).wire.redis)
  }

  readonly viewed: Effect.Effect<void, TransportError> = Effect.callback<void, TransportError>((resume) => {
    if (this.owners.length > 0) return resume(Effect.void)
    const onChange = () => resume(Effect.void)
    const onRefused = (error: TransportError) => resume(Effect.fail(error))
    this.onChange.add(onChange)
    this.onRefused.add(onRefused)
    return Effect.sync(() => {
      this.onChange.delete(onChange)
      this.onRefused.delete(onRefused)
    })
  })

  protected override watch(now: number): void {
    super.watch(now)
    const ill = this.owners.length === 0 || !this.wires.every((wire) => isWell(wire, now))
    if (now >= this.askAt || (ill && this.askAt > now + askEvery.ill)) this.ask(now)
  }

  private ask(now: number): void {
    this.askAt = now + stale
    const well = [...this.nodes.values()].filter(({ wire }) => isWell(wire, now))
    const node = well[this.asked++ % Math.max(1, well.length)]
    if (node === undefined) {
      // all that we knew are away: those where it began may know others
      for (const seed of this.seeds) this.nodeAt(seed)
      return
    }
    const request: Request = {
      operation: "CLUSTER SLOTS",
      queue: "",
      command: "cluster",
      args: ["SLOTS"],
      repeatable: false,
      onReply: (reply) => {
        const answered = this.now()
        // an old master that stood still must not lead us back to it
        if (answered - now > stale) return
        this.see(reply as SlotsReply, node.address)
        this.askAt = answered + askEvery.well
      },
      onError: (error) => {
        this.askAt = this.now() + askEvery.ill
        if (error.reason._tag !== "Refused") return
        const isNone = error.reason.description.includes("cluster support disabled")
        const refusal = isNone ? Errors.refused("to start", "the server is in no cluster: give `url`") : error
        for (const callback of this.onRefused) callback(refusal)
      }
    }
    this.begin(request, -1, node.wire)
  }

  private see(reply: SlotsReply, asked: Address): void {
    const said = JSON.stringify(reply)
    // a server that was taken out of the cluster knows nothing
    if (said === this.last || reply.length === 0) return
    this.last = said
    const owners: Array<Node | undefined> = Array.from({ length: Slots.slots })
    const masters = new Set<Node>()
    const known = new Set<string>()
    for (const [first, last, ...servers] of reply) {
      const [master, ...replicas] = servers.map(([host, port]) => this.heard(host, port, asked))
      for (const replica of replicas) if (replica !== undefined) known.add(nameOf(replica))
      if (master === undefined) continue
      const node = this.nodeAt(master)
      known.add(nameOf(master))
      masters.add(node)
      owners.fill(node, first, last + 1)
    }
    const isFirst = this.owners.length === 0
    this.owners = owners
    this.known = known
    for (const [name, node] of this.nodes) {
      if (masters.has(node)) continue
      this.nodes.delete(name)
      node.wire.close()
      if (!isFirst) this.fork(Effect.logInfo(`Others than ${name} have its slots of the cluster now`))
    }
    this.flush()
    for (const callback of this.onChange) callback()
  }

  private heard(host: Buffer | null, port: number, asked: Address): Address | undefined {
    const name = String(host ?? "")
    // it has no name for itself, or none for another one
    if (name === "?") return undefined
    return this.mapped({ host: name === "" ? asked.host : name, port })
  }
}

/** First and last slot, then host, port and more of the master and of its replicas. */
type SlotsReply = ReadonlyArray<
  readonly [
    first: number,
    last: number,
    ...servers: ReadonlyArray<readonly [host: Buffer | null, port: number, ...rest: ReadonlyArray<unknown>]>
  ]
>
