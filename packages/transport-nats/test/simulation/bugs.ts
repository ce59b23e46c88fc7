/**
 * Mistakes that a transport on JetStream can make, planted at the port: the
 * simulation is worth what it catches of them.
 */
import type { Kind } from "@troupe/core/testing/Invariants"
import * as Effect from "effect/Effect"
import { contentOf } from "../../src/internal/message.ts"
import * as Row from "../../src/internal/row.ts"
import type { Publish, Published, Streams } from "../../src/internal/streams.ts"
import type { Plant } from "./cast.ts"

export interface Bug extends Plant {
  /** As what it shows. */
  readonly shows: ReadonlyArray<Kind>
  /** Seeds after which it must have shown. */
  readonly within: number
}

export const isRow = ({ subject }: Publish) => subject.startsWith("sim.r.") && subject.includes(".j.")

export const changing = (change: (message: Publish) => Publish) => (streams: Streams): Streams => ({
  ...streams,
  publish: (messages) => streams.publish(messages.map(change))
})

/** Answers without doing anything for the messages that are picked. */
export const skipping = (skips: (message: Publish) => boolean) => (streams: Streams): Streams => ({
  ...streams,
  publish: (messages) => {
    const kept = messages.filter((message) => !skips(message))
    return Effect.map(streams.publish(kept), (answers) => {
      let next = 0
      return messages.map((message): Published => skips(message) ? { _tag: "Stored", sequence: 1 } : answers[next++]!)
    })
  }
})

/** The bugs, by name. */
export const bugs: Readonly<Record<string, Bug>> = {
  "rows written without an expected sequence": {
    shows: ["JobOverlap", "RecordChanged", "AcceptedTwice", "WrongCancelAnswer", "WrongAttempt"],
    within: 20,
    atPort: changing((message) => isRow(message) ? { ...message, expected: undefined } : message)
  },
  "records that are never written": {
    shows: ["Loss", "Unfinished"],
    within: 5,
    atPort: skipping((message) => isRow(message) && (message.expected ?? 0) > 0)
  },
  "acknowledge first, then let the job go on": {
    shows: ["Loss", "Unfinished"],
    within: 20,
    atPort: (streams) => {
      const waiting: Array<Publish> = []
      return {
        ...streams,
        // successors of jobs without a key travel behind the acknowledgement, and die with the process
        publish: (messages) => {
          const later = (message: Publish) => /^sim\.w\..*\.p\./.test(message.subject) && message.headers === undefined
          return Effect.suspend(() => {
            const now = messages.filter((message) => !later(message))
            const after = messages.filter(later)
            waiting.push(...after)
            return Effect.map(streams.publish(now), (answers) => {
              let next = 0
              return messages.map((message): Published =>
                later(message) ? { _tag: "Stored", sequence: 1 } : answers[next++]!
              )
            })
          })
        },
        acknowledge: (replies, how) =>
          Effect.andThen(
            streams.acknowledge(replies, how),
            Effect.suspend(() => {
              const messages = waiting.splice(0)
              return messages.length === 0
                ? Effect.void
                : Effect.andThen(Effect.sleep(500), Effect.asVoid(streams.publish(messages)))
            })
          )
      }
    }
  },
  "due times that are never stored": {
    shows: ["Loss", "Unfinished"],
    within: 5,
    atPort: skipping(({ subject }) => /^sim\.t\..*\.m\./.test(subject))
  },
  "due times that are dropped before their rows come": {
    shows: ["Loss", "Unfinished"],
    within: 40,
    atPort: (streams) => ({
      ...streams,
      // rows take longer than due times
      publish: (messages) =>
        messages.some(isRow) ? Effect.delay(streams.publish(messages), 400) : streams.publish(messages),
      puller: (stream, consumer, heartbeat, onEvent) =>
        streams.puller(stream, consumer, heartbeat, (event) =>
          onEvent(
            event._tag === "Message" && stream.startsWith("sim_T_")
              ? { ...event, message: { ...event.message, timestamp: 0 } }
              : event
          ))
    })
  },
  "a token for every job of a key": {
    shows: ["LostLease", "KeyOverlap", "KeyOrder", "JobOverlap"],
    within: 40,
    atPort: changing((message) =>
      /^sim\.w\..*\.t\./.test(message.subject) && message.expected === 0
        ? { ...message, expected: undefined }
        : message
    )
  },
  "rows that everybody takes for their own": {
    shows: [
      "AcceptedTwice",
      "JobOverlap",
      "RecordChanged",
      "WrongCancelAnswer",
      "Loss",
      "WrongRecord",
      "StartAfterEnd"
    ],
    within: 40,
    atPort: (streams) => {
      const mine = new Map<string, unknown>()
      const headerOf = (bytes: Uint8Array) => {
        const { body, header } = Row.unpack(bytes)
        return { body, header: header as { readonly n: unknown } }
      }
      return {
        ...streams,
        publish: (messages) => {
          for (const message of messages) {
            if (isRow(message)) mine.set(message.subject, headerOf(contentOf(message)).header.n)
          }
          return streams.publish(messages)
        },
        last: (stream, subjects) =>
          Effect.map(streams.last(stream, subjects), (found) =>
            found.map((stored) => {
              if (stored === undefined || !mine.has(stored.subject)) return stored
              const { body, header } = headerOf(stored.bytes)
              return { ...stored, bytes: Row.pack({ ...header, n: mine.get(stored.subject) }, body) }
            }))
      }
    }
  },
  "heartbeats that never reach the server": {
    shows: ["LostLease"],
    within: 40,
    atPort: (streams) => ({
      ...streams,
      acknowledge: (replies, how) => how._tag === "Working" ? Effect.void : streams.acknowledge(replies, how)
    })
  }
}
