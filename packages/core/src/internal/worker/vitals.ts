/**
 * What a worker knows of its contact with one queue: what it does, whether the
 * broker is there, and whether pulls fail.
 */
import type * as Clock from "effect/Clock"
import type { QueueHealth, QueueState } from "../../Health.ts"
import * as Contact from "../contact.ts"
import { monotonic } from "../monotonic.ts"

export interface Vitals {
  /** What the worker does from now on. */
  readonly enter: (state: "starting" | "pulling" | "paused" | "draining") => void
  /** Asks the broker something, and learns from its answer that it is there. */
  readonly ask: Contact.Contact<QueueState>["ask"]
  readonly pullFailed: (why: string) => void
  /** Tried again after a failure. A pull of an empty queue does not answer: it works if it does not fail soon. */
  readonly pullsAgain: () => void
  readonly pulled: () => void
  readonly report: () => QueueHealth
}

export const make = (clock: Clock.Clock, queue: string): Vitals => {
  let does: Parameters<Vitals["enter"]>[0] = "starting"
  let failure: { readonly why: string; againAt: number | undefined } | undefined

  const isOver = (againAt: number | undefined) =>
    againAt !== undefined && contact.answeredAt() - againAt >= Contact.askEvery

  const contact = Contact.make<QueueState>(clock, does, (away) => {
    if (does === "draining" || does === "starting") return { state: does }
    if (away !== undefined) return { state: "disconnected", reason: away }
    if (isOver(failure?.againAt)) failure = undefined
    return failure === undefined ? { state: does } : { state: "failing", reason: failure.why }
  })

  return {
    enter: (next) => {
      does = next
      contact.look()
    },
    ask: contact.ask,
    pullFailed: (why) => {
      failure = { why, againAt: undefined }
      contact.look()
    },
    pullsAgain: () => {
      if (failure !== undefined) failure.againAt = monotonic(clock)
    },
    pulled: () => {
      failure = undefined
      contact.look()
    },
    report: () => ({ queue, ...contact.look() })
  }
}
