/**
 * How an actor's messages travel: as keyed jobs of tasks of their own.
 */
import type { Collection } from "../../Store.ts"

/** What every part of an actor knows of it. */
export interface Address {
  readonly name: string
  readonly queue: string
}

/** An actor's name has no slash: what comes before the first one is the actor. */
export const separator = "/"

export const taskTag = ({ name }: Address, message: string): string => name + separator + message

/** Keys of actors that share a queue are apart. */
export const jobKey = ({ name }: Address, key: string): string => name + separator + key

/** The key of the actor; `undefined` if the job was not sent to this actor. */
export const actorKey = ({ name }: Address, key: string | undefined): string | undefined =>
  key?.startsWith(name + separator) === true ? key.slice(name.length + 1) : undefined

const collections = new WeakMap<Address, Collection>()

/** One row per key, beside the jobs of the actor's queue. The same object each time: a store may know it. */
export const states = (address: Address): Collection => {
  const known = collections.get(address)
  if (known !== undefined) return known
  const { name, queue } = address
  const collection: Collection = { name: `actor${separator}${name}`, queue, listable: true }
  collections.set(address, collection)
  return collection
}
