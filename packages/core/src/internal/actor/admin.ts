/**
 * What operators see of an actor's keys and do to them. Every change is a
 * compare-and-set: a message that runs meanwhile begins anew.
 */
import * as Effect from "effect/Effect"
import type { ActorEvent } from "../../ActorEvents.ts"
import * as Codec from "../../Codec.ts"
import { Signing } from "../../Signing.ts"
import type { Page } from "../../Store.ts"
import { Transport } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"
import { announce } from "./announce.ts"
import * as Row from "./row.ts"
import type { Runtime } from "./runtime.ts"
import * as State from "./state.ts"
import * as Vault from "./vault.ts"
import { type Address, states } from "./wire.ts"

const tryOpen = (vault: Vault.Vault, key: string, bytes: Uint8Array): Row.Row | undefined => {
  try {
    return vault.open(key, bytes)
  } catch {
    return undefined
  }
}

type Definition = Pick<Runtime, "address" | "initialState" | "stateSchema">

const open = Effect.fnUntraced(function*(address: Address) {
  const transport = yield* Transport
  return { address, transport, vault: Vault.make(address, yield* Signing) }
})

export const state = Effect.fnUntraced(function*(definition: Definition, key: string) {
  const seen = yield* State.read(yield* open(definition.address), key)
  if (seen.revision === 0) return undefined
  const codecs = [...yield* Codec.Accepted, yield* Codec.Codec]
  const accepted = new Map(codecs.map((codec) => [codec.contentType, codec]))
  return { ...seen, state: yield* State.decode({ ...definition, accepted }, key, seen.row) }
})

export const list = Effect.fnUntraced(function*(address: Address, page: Page) {
  const { transport, vault } = yield* open(address)
  const { items, next } = yield* transport.store.list(states(address), page)
  return {
    items: items.map(({ key, revision, value }) => ({
      key,
      revision,
      bytes: value.length,
      row: tryOpen(vault, key, value)
    })),
    next
  }
})

/** Answers false if there is nothing to change. */
const change = Effect.fnUntraced(function*(
  address: Address,
  key: string,
  event: "Resumed" | "Reset",
  f: (row: Row.Row | undefined) => Row.Row | undefined
): Effect.fn.Return<boolean, TransportError, Transport> {
  const opened = yield* open(address)
  const { transport, vault } = opened
  while (true) {
    const found = yield* State.fetch(opened, key)
    if (found === undefined) return false
    const row = f(tryOpen(vault, key, found.value))
    if (row === undefined) return false
    const written = yield* transport.store.put(states(address), key, vault.seal(key, row), {
      ifRevision: found.revision
    }).pipe(Effect.as(true), Effect.catchTag("RevisionConflict", () => Effect.succeed(false)))
    if (!written) continue
    const told: ActorEvent = { _tag: event, actor: address.name, key, at: yield* transport.clock }
    yield* Effect.logInfo(`Actor "${address.name}", key "${key}", is ${event === "Reset" ? "reset" : "resumed"}`)
    yield* announce(transport.bus, told)
    return true
  }
})

export const resume = (address: Address, key: string): Effect.Effect<boolean, TransportError, Transport> =>
  change(
    address,
    key,
    "Resumed",
    (row) => row?.stopped === undefined ? undefined : { ...row, stopped: undefined, restarts: [] }
  )

/** Keeps what recognises the last message: one that was applied before must not be applied to the new state, too. */
export const reset = (address: Address, key: string): Effect.Effect<boolean, TransportError, Transport> =>
  change(
    address,
    key,
    "Reset",
    (row = Row.empty) => ({ ...row, contentType: "", state: undefined, stopped: undefined, restarts: [] })
  )
