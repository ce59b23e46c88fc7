/**
 * What may happen to a transport at its port, more often than a server does it.
 */
import * as Effect from "effect/Effect"
import { contentOf } from "../../src/internal/message.ts"
import * as Row from "../../src/internal/row.ts"
import type { Publish, Published, Streams } from "../../src/internal/streams.ts"
import { isRow } from "./bugs.ts"

/** Rows are without limits, and due times are stored before them. */
const full: Published = { _tag: "Full", description: "maximum messages exceeded" }

const kinds = {
  job: /\.w\.[^.]+\.p\./,
  mail: /\.k\.[^.]+\.m\./
}

/** Whether it is the row of a job that is sent, not of one that goes on. */
const isClaim = (message: Publish): boolean => {
  if (!isRow(message) || message.expected !== 0) return false
  const { row } = Row.read({ ...message, bytes: contentOf(message), headers: new Map(), sequence: 1, timestamp: 0 }, 0)
  return row?._tag === "Live" && row.envelope.revision === 0
}

const idOf = ({ messageId, subject }: Publish): string | undefined =>
  kinds.job.test(subject) || kinds.mail.test(subject) ? messageId?.split(".")[0] : undefined

/** Every second claim finds no room for its job: at once, or so late that others have met the claim meanwhile. */
export const claimsGivenUp = (streams: Streams): Streams => {
  /** Encoded ids whose job is not on its way yet. */
  const claims = new Set<string>()
  let count = 0
  return {
    ...streams,
    publish: (messages) => {
      for (const message of messages) {
        if (isClaim(message)) claims.add(message.subject.slice(message.subject.lastIndexOf(".") + 1))
      }
      const isFirst = messages.some((message) => claims.delete(idOf(message) ?? ""))
      if (!isFirst || ++count % 2 === 0) return streams.publish(messages)
      return Effect.as(
        Effect.sleep(count % 3 * 700),
        messages.map(() => full)
      )
    }
  }
}

/** Every third publication arrives once more, up to 2 s after its answer. */
export const comingTwice = (streams: Streams): Streams => {
  let count = 0
  return {
    ...streams,
    publish: (messages, stream) =>
      Effect.tap(streams.publish(messages, stream), () =>
        ++count % 3 === 0
          ? Effect.forkDetach(Effect.delay(streams.publish(messages, stream), count * 700 % 2_000))
          : Effect.void)
  }
}

/** Records take so long that those of the jobs that end meanwhile are written together. */
export const settlingTogether = (streams: Streams): Streams => ({
  ...streams,
  publish: (messages, stream) =>
    messages.some(({ runId }) => runId !== undefined)
      ? Effect.delay(streams.publish(messages, stream), 2_000)
      : streams.publish(messages, stream)
})
