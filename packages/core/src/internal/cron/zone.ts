/**
 * When the offset of a time zone changes.
 */
import * as DateTime from "effect/DateTime"
import { day } from "./wall.ts"

export interface Transition {
  /** ms since the epoch: the first moment of the new offset. */
  readonly at: number
  /** Offsets, ms. */
  readonly before: number
  readonly after: number
}

const block = 32 * day
/** Two changes that cancel each other lie further apart than this. */
const step = 2 * day

export const offsetAt = (zone: DateTime.TimeZone, at: number): number =>
  zone._tag === "Offset" ? zone.offset : DateTime.zonedOffset(DateTime.makeZonedUnsafe(at, { timeZone: zone }))

const findTransition = (zone: DateTime.TimeZone, from: number, to: number, before: number): number => {
  let [low, high] = [from / 1_000, to / 1_000]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (offsetAt(zone, middle * 1_000) === before) low = middle
    else high = middle
  }
  return high * 1_000
}

const searchBlock = (zone: DateTime.TimeZone, index: number): ReadonlyArray<Transition> => {
  const found: Array<Transition> = []
  const start = index * block
  // a change at the very first moment belongs to this block
  let from = start - 1_000
  let before = offsetAt(zone, from)
  for (let to = start + step - 1_000; to < start + block; to += step) {
    const after = offsetAt(zone, to)
    if (after !== before) found.push({ at: findTransition(zone, from, to, before), before, after })
    from = to
    before = after
  }
  return found
}

/** Asking a zone for an offset is slow, and all schedules of a zone ask for the same ones. */
const cache = new Map<string, Map<number, ReadonlyArray<Transition>>>()

/** Blocks kept per zone: some six years. */
const most = 72

const blockOf = (zone: DateTime.TimeZone.Named, index: number): ReadonlyArray<Transition> => {
  let blocks = cache.get(zone.id)
  if (blocks === undefined) cache.set(zone.id, blocks = new Map())
  let found = blocks.get(index)
  if (found === undefined) {
    found = searchBlock(zone, index)
    if (blocks.size >= most) blocks.delete(blocks.keys().next().value!)
    blocks.set(index, found)
  }
  return found
}

const none: ReadonlyArray<Transition> = []

/** The changes in `(from, to]`, in order. */
export const transitions = (zone: DateTime.TimeZone, from: number, to: number): ReadonlyArray<Transition> => {
  if (zone._tag === "Offset" || zone.id === "UTC") return none
  let found = none
  for (let index = Math.floor(from / block); index <= Math.floor(to / block); index++) {
    const inBlock = blockOf(zone, index)
    if (inBlock.length > 0) found = [...found, ...inBlock.filter(({ at }) => at > from && at <= to)]
  }
  return found
}
