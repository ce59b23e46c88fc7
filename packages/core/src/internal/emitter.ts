/**
 * The emitting side of `JobEvents`: costs one comparison per event while nobody listens.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import { announceEvery, eventsTopic, type JobEvent, listenersTopic } from "../JobEvents.ts"
import { Transport } from "../Transport.ts"
import type { TransportError } from "../TransportError.ts"

export interface Emitter {
  /** False while nobody listens: then do not build the event. */
  readonly wanted: (queue: string) => boolean
  readonly emit: (event: Omit<JobEvent, "at">) => void
}

const text = { encoder: new TextEncoder(), decoder: new TextDecoder() }

export const make: Effect.Effect<Emitter, TransportError, Transport | Scope> = Effect.gen(function*() {
  const { bus } = yield* Transport
  const clock = yield* Clock.Clock
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  /** Until when somebody listens, by queue; "" for all queues. */
  const until = new Map<string, number>()
  const pending = new Map<string, Array<JobEvent>>()

  yield* bus.subscribe(listenersTopic, (message) => {
    // three announcements may be lost before a listener counts as gone
    until.set(text.decoder.decode(message.bytes), clock.currentTimeMillisUnsafe() + 3 * announceEvery)
  })

  const flush = () => {
    for (const [queue, events] of pending) {
      fork(Effect.ignore(bus.publish(eventsTopic(queue), text.encoder.encode(JSON.stringify(events)))))
    }
    pending.clear()
  }

  const listened = (queue: string, now: number) => {
    const end = until.get(queue)
    if (end === undefined) return false
    if (end > now) return true
    until.delete(queue)
    return false
  }

  return {
    wanted: (queue) => {
      if (until.size === 0) return false
      const now = clock.currentTimeMillisUnsafe()
      return listened("", now) || listened(queue, now)
    },
    emit: (event) => {
      if (pending.size === 0) queueMicrotask(flush)
      const events = pending.get(event.queue)
      const dated = { ...event, at: clock.currentTimeMillisUnsafe() }
      if (events === undefined) pending.set(event.queue, [dated])
      else events.push(dated)
    }
  }
})
