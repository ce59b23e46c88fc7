/**
 * What a worker holds in memory for the keys of one actor: the state while its
 * revision stands, and what the handlers of the key acquired.
 *
 * One turn at a time per key: a message whose lease was lost may still be
 * cleaning up when the same message comes back.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { monotonic } from "../monotonic.ts"
import * as Row from "./row.ts"

export interface Slot<Active> {
  readonly key: string
  /** Somebody has the turn. */
  busy: boolean
  readonly waiting: Array<() => void>
  /** The row that `state` was read from or written to; 0 without a row, -1 before the first look. */
  revision: number
  state: unknown
  /** Of that row, what the next one needs beside what the message changes. */
  row: Row.Row
  /** The hand-out whose turn ended last, if it left the row at this revision. */
  last: string | undefined
  /** When the revision was learnt (`Sequence`). */
  knownAt: number
  active: { readonly value: Active; readonly scope: Scope.Closeable } | undefined
  /** ms on the monotonic clock. */
  usedAt: number
  /** Since it came, or since its last chance. */
  wasUsed: boolean
}

/** A place in the queue for a key. Whoever took it leaves it, also without having waited. */
export interface Turn<Active> {
  readonly slot: Slot<Active>
  /** Nobody else has the turn: there is nothing to wait for. */
  readonly isFree: boolean
  readonly wait: Effect.Effect<void>
  readonly leave: () => void
}

export interface Slots<Active> {
  /** Queues for the turn of the key. */
  readonly take: (key: string) => Turn<Active>
  /** What the handlers of the key acquired, built at the first use. */
  readonly activate: (slot: Slot<Active>) => Effect.Effect<Active>
  /** Forgets the state and releases what was acquired. Needs the turn. */
  readonly passivate: (slot: Slot<Active>) => Effect.Effect<void>
}

export const make = <Active>(options: {
  readonly clock: Clock.Clock
  /** ms. */
  readonly maxIdleTime: number
  readonly maxActive: number
  readonly build: (key: string) => Effect.Effect<Active, never, Scope.Scope>
}): Effect.Effect<Slots<Active>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { clock, maxActive, maxIdleTime } = options
    // in the order in which they came; one that was used since then gets a second chance
    const slots = new Map<string, Slot<Active>>()
    const fork = Effect.runForkWith(yield* Effect.context<never>())
    const now = () => monotonic(clock)

    const open = (key: string): Slot<Active> => ({
      key,
      busy: false,
      waiting: [],
      revision: -1,
      state: undefined,
      row: Row.empty,
      last: undefined,
      knownAt: 0,
      active: undefined,
      usedAt: now(),
      wasUsed: false
    })

    const passivate: Slots<Active>["passivate"] = (slot) =>
      Effect.suspend(() => {
        const { active } = slot
        slot.revision = -1
        slot.state = undefined
        slot.row = Row.empty
        slot.active = undefined
        return active === undefined ? Effect.void : Effect.ignoreCause(Scope.close(active.scope, Exit.void))
      })

    const release = (slot: Slot<Active>): void => {
      slot.usedAt = now()
      const next = slot.waiting.shift()
      if (next !== undefined) return next()
      slot.busy = false
      if (slot.revision === -1 && slot.active === undefined) slots.delete(slot.key)
    }

    /** Ends the stay of a key that nobody uses. */
    const evict = (slot: Slot<Active>) => {
      slot.busy = true
      return Effect.ensuring(passivate(slot), Effect.sync(() => release(slot)))
    }

    const evictOne = () => {
      let chances = slots.size
      for (const slot of slots.values()) {
        if (chances-- === 0) return
        if (!slot.busy && !slot.wasUsed) return fork(evict(slot))
        slot.wasUsed = false
        slots.delete(slot.key)
        slots.set(slot.key, slot)
      }
    }

    const enter = (key: string): Slot<Active> => {
      const found = slots.get(key)
      if (found !== undefined) {
        found.wasUsed = true
        return found
      }
      const slot = open(key)
      slots.set(key, slot)
      if (slots.size > maxActive) evictOne()
      return slot
    }

    const take: Slots<Active>["take"] = (key) => {
      const slot = enter(key)
      if (!slot.busy) {
        slot.busy = true
        return { slot, isFree: true, wait: Effect.void, leave: () => release(slot) }
      }
      let mine = false
      let grant = () => {
        mine = true
      }
      slot.waiting.push(() => grant())
      return {
        slot,
        isFree: false,
        wait: Effect.callback<void>((resume) => {
          if (mine) return resume(Effect.void)
          grant = () => {
            mine = true
            resume(Effect.void)
          }
        }),
        leave: () => {
          if (mine) return release(slot)
          // it may come late: then it is passed on
          grant = () => release(slot)
        }
      }
    }

    const activate: Slots<Active>["activate"] = (slot) =>
      Effect.suspend(() => {
        if (slot.active !== undefined) return Effect.succeed(slot.active.value)
        const scope = Scope.makeUnsafe()
        return options.build(slot.key).pipe(
          Scope.provide(scope),
          Effect.onExit((exit) => {
            if (Exit.isFailure(exit)) return Effect.ignoreCause(Scope.close(scope, exit))
            slot.active = { value: exit.value, scope }
            return Effect.void
          })
        )
      })

    const sweep = Effect.suspend(() => {
      const idleSince = now() - maxIdleTime
      const idle = [...slots.values()].filter((slot) => !slot.busy && slot.usedAt <= idleSince)
      return Effect.forEach(idle, evict, { concurrency: "unbounded", discard: true })
    })
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(Math.max(50, maxIdleTime / 4)), sweep)))
    yield* Effect.addFinalizer(() =>
      Effect.forEach([...slots.values()], passivate, { concurrency: "unbounded", discard: true })
    )

    return { take, activate, passivate }
  })
