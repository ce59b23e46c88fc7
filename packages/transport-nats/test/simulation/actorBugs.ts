/**
 * Mistakes with the states of actors that a transport on JetStream can make,
 * planted at the port.
 */
import * as Effect from "effect/Effect"
import type { Stored, Streams } from "../../src/internal/streams.ts"

const isState = (subject: string) => subject.startsWith("sim.s.r.")

/** Every second write of a row of the table is under way for so long. */
const slowly = (streams: Streams, change: (streams: Streams) => Streams): Streams => {
  const changed = change(streams)
  let count = 0
  return {
    ...changed,
    publish: (messages) =>
      messages.some(({ subject }) => isState(subject)) && count++ % 2 === 0
        ? Effect.delay(changed.publish(messages), 2_500)
        : changed.publish(messages)
  }
}

/** The bugs, by name. */
export const portBugs: Readonly<Record<string, (streams: Streams) => Streams>> = {
  "rows of the table written whatever stands": (streams) =>
    slowly(streams, (inner) => ({
      ...inner,
      publish: (messages) =>
        inner.publish(messages.map((one) => isState(one.subject) ? { ...one, expected: undefined } : one))
    })),
  "rows of the table read once and for all": (streams) => {
    const known = new Map<string, Stored>()
    return {
      ...streams,
      last: (stream, subjects) =>
        Effect.map(streams.last(stream, subjects), (found) =>
          found.map((one) => {
            if (one === undefined || !isState(one.subject)) return one
            const first = known.get(one.subject) ?? one
            known.set(one.subject, first)
            return first
          }))
    }
  }
}
