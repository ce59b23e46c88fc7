/**
 * Listens at the modelled server: what is stored, and what is handed out again.
 */
import * as Envelope from "@troupe/core/Envelope"
import * as JobRecord from "@troupe/core/JobRecord"
import * as Names from "../../src/internal/names.ts"
import * as Row from "../../src/internal/row.ts"
import type { Stored } from "../model/message.ts"
import type { Server } from "../model/server.ts"
import type { Recorder } from "./recorder.ts"

/** What a message of a stream says about a job. */
type Said =
  | { readonly _tag: "Claim"; readonly envelope: Envelope.Envelope; readonly dueAt: number }
  | { readonly _tag: "Job"; readonly envelope: Envelope.Envelope }
  | { readonly _tag: "End"; readonly record: JobRecord.JobRecord }
  | undefined

/** `queues`: by their streams. */
const read = (queues: ReadonlyMap<string, Names.QueueNames>, stream: string, message: Stored): Said => {
  const names = queues.get(stream)
  if (names === undefined) return undefined
  const { bytes, headers, sequence, subject, time } = message
  switch (stream) {
    case names.rows: {
      if (subject === Names.levels(names)) return undefined
      const { row } = Row.read({ bytes, headers, sequence, subject, timestamp: time }, time)
      if (row === undefined) return undefined
      return row._tag === "Live"
        ? { _tag: "Claim", envelope: row.envelope, dueAt: row.dueAt }
        : { _tag: "End", record: JobRecord.fromBytes(row.record) }
    }
    case names.work:
      return Names.isToken(names, subject)
        ? undefined
        : { _tag: "Job", envelope: Envelope.fromBytes(bytes) }
    case names.mailboxes:
      return subject.startsWith(`${names.prefix.mailboxes}m.`)
        ? { _tag: "Job", envelope: Envelope.fromBytes(bytes) }
        : undefined
  }
  return undefined
}

export const watch = (server: Server, recorder: Recorder, namespace: string): void => {
  const queues = new Map<string, Names.QueueNames>()
  for (const queue of ["a", "b"]) {
    const names = Names.queueNames(namespace, queue)
    for (const stream of [names.rows, names.work, names.mailboxes]) queues.set(stream, names)
  }
  server.ears = {
    stored: (stream, message) => {
      const said = read(queues, stream, message)
      if (said?._tag === "Claim") recorder.stored(said.envelope, message.subject, said.dueAt, false)
      else if (said?._tag === "Job") recorder.stored(said.envelope, message.subject, 0, true)
      else if (said?._tag === "End") recorder.ended(said.record)
    },
    handedOut: (_stream, { reply }) => recorder.handedOut(reply)
  }
}
