/**
 * What a transport on JetStream can forget to do, or to look at. Planted at the
 * port, like the others.
 */
import * as Effect from "effect/Effect"
import { contentOf } from "../../src/internal/message.ts"
import * as Row from "../../src/internal/row.ts"
import type { Publish, Published, Streams } from "../../src/internal/streams.ts"
import { type Bug, changing, isRow, skipping } from "./bugs.ts"
import { settlingTogether } from "./hardship.ts"

const isJob = ({ subject }: { readonly subject: string }) => /^sim\.w\.[^.]+\.p\./.test(subject)
const isToken = ({ subject }: Publish) => /^sim\.w\.[^.]+\.t\./.test(subject)

const headerOf = (bytes: Uint8Array) => Row.unpack(bytes).header as { readonly k: string; readonly o?: number }

/** Every so many of those that are picked. */
const every = (count: number, picks: (message: Publish) => boolean) => {
  let seen = 0
  return (message: Publish) => picks(message) && ++seen % count === 0
}

/** Messages as pulled, changed. */
const pulling = (
  change: (message: Parameters<Parameters<Streams["puller"]>[3]>[0]) => typeof message
) =>
(streams: Streams): Streams => ({
  ...streams,
  puller: (stream, consumer, heartbeat, onEvent) =>
    streams.puller(stream, consumer, heartbeat, (event) => onEvent(change(event)))
})

/** The row of a job that is published. */
const rowOf = ({ subject }: Publish): string => {
  const [, , queue, , , id] = subject.split(".")
  return `sim.r.${queue}.j.${id}`
}

/** Answers that somebody else was first. */
const refusing = (refuses: (message: Publish) => boolean) => (streams: Streams): Streams => ({
  ...streams,
  publish: (messages) => {
    const kept = messages.filter((message) => !refuses(message))
    return Effect.map(streams.publish(kept), (answers) => {
      let next = 0
      return messages.map((message): Published => refuses(message) ? { _tag: "WrongSequence" } : answers[next++]!)
    })
  }
})

/** The oversights, by name. */
export const oversights: Readonly<Record<string, Bug>> = {
  "claims that nobody finishes": {
    shows: ["Unfinished"],
    within: 40,
    atPort: (streams) => {
      const claimed = new Set<string>()
      let count = 0
      return {
        ...streams,
        publish: (messages) => {
          for (const one of messages) {
            // their writers die now and then
            if (isRow(one) && one.expected === 0) claimed.add(one.subject)
          }
          const isFirst = messages.some((one) => isJob(one) && claimed.delete(rowOf(one)))
          if (isFirst && ++count % 8 === 0) return Effect.never
          // and those who would write them anew are refused
          return refusing((one) => isRow(one) && headerOf(contentOf(one)).o !== undefined)(streams).publish(messages)
        }
      }
    }
  },
  "successors that are not published": {
    shows: ["Loss", "Unfinished"],
    within: 20,
    atPort: skipping(every(4, (one) => isJob(one) && one.headers === undefined && one.expected === 0))
  },
  "what comes again is not looked at": {
    shows: ["StartAfterEnd", "WrongAttempt", "StartAfterCancel", "TooManyDeliveries"],
    within: 40,
    atPort: pulling((event) =>
      event._tag === "Message" && isJob(event.message)
        ? { ...event, message: { ...event.message, deliveries: 1, headers: new Map(), timestamp: Infinity } }
        : event
    )
  },
  "a key that goes on by two": {
    shows: ["KeyOrder", "Loss", "Unfinished"],
    within: 40,
    atPort: changing((one) => {
      if (!isToken(one) || (one.expected ?? 0) === 0) return one
      const text = Buffer.from(one.bytes).toString()
      const { a, ...others } = JSON.parse(text) as { readonly a: number }
      return { ...one, bytes: Buffer.from(JSON.stringify({ a: a === 0 ? 0 : a + 1, ...others }).padEnd(text.length)) }
    })
  },
  "keys that nobody wakes": {
    shows: ["Unfinished"],
    within: 10,
    atPort: skipping((one) => isToken(one) && one.expected === 0)
  },
  "records that take the place of others": {
    shows: ["RecordChanged", "WrongRecord", "WrongCancelAnswer", "StartAfterCancel", "Loss"],
    within: 100,
    atPort: (streams) => ({
      ...streams,
      publish: (messages) =>
        Effect.flatMap(streams.publish(messages), (answers) => {
          const lost = messages.filter((one, i) =>
            answers[i]?._tag === "WrongSequence" && isRow(one) && headerOf(contentOf(one)).k === "e"
          )
          if (lost.length === 0) return Effect.succeed(answers)
          return Effect.map(streams.publish(lost.map((one) => ({ ...one, expected: undefined }))), (again) => {
            let next = 0
            return messages.map((one, i): Published => lost.includes(one) ? again[next++]! : answers[i]!)
          })
        })
    })
  },
  "runs of records that nothing ties together": {
    shows: ["Loss", "Unfinished"],
    within: 80,
    atPort: (streams) => {
      const isLost = every(4, ({ runId }) => runId !== undefined)
      return settlingTogether({
        ...streams,
        publish: (messages, stream) =>
          // the last one speaks for those that get lost
          messages.at(-1)?.runId === undefined
            ? streams.publish(messages, stream)
            : skipping((one) => one !== messages.at(-1) && isLost(one))(streams).publish(messages)
      })
    }
  },
  "cancels that leave the job where it is": {
    shows: ["StartAfterCancel", "StartAfterEnd"],
    within: 80,
    atPort: (streams) => ({ ...streams, remove: () => Effect.void })
  },
  "letters that stay when they are replayed": {
    shows: ["TwoPlaces"],
    within: 60,
    atPort: (streams) => ({
      ...streams,
      purge: (stream, filter, below) =>
        /^sim\.k\.[^.]+\.l\./.test(filter) ? Effect.succeed(1) : streams.purge(stream, filter, below)
    })
  },
  "heads that wait too short": {
    shows: ["EarlyStart"],
    within: 40,
    atPort: changing((one) => {
      if (isToken(one)) {
        const text = Buffer.from(one.bytes).toString()
        const { d, ...others } = JSON.parse(text) as { readonly d?: number }
        return d === undefined
          ? one
          : { ...one, bytes: Buffer.from(JSON.stringify({ d: d - 400, ...others }).padEnd(text.length)) }
      }
      if (!isRow(one)) return one
      const { body, header } = Row.unpack(contentOf(one))
      const { d, w, ...others } = header as { readonly k: string; readonly d?: number; readonly w?: number }
      return w === 1 && one.expected !== 0 ? { ...one, bytes: Row.pack({ ...others, d: d! - 400, w }, body) } : one
    })
  }
}
