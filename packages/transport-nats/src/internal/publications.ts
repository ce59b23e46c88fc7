/**
 * What has to be published so that a job goes on as its row says. Publishing it
 * again adds nothing: whoever finds a live row may do it.
 */
import type * as Envelope from "@troupe/core/Envelope"
import { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Agenda, Waiting } from "./agenda.ts"
import type { BrokerClock } from "./clock.ts"
import * as Errors from "./errors.ts"
import * as Names from "./names.ts"
import type * as Row from "./row.ts"
import type { Publish, Published, Streams } from "./streams.ts"
import * as Token from "./token.ts"

/** Asks whoever gets the job to look at its row first: the message may be one too many. */
export const checkHeader = "Troupe-Check"

/** Of a message in a mailbox: `auth` of the row that let it be published. */
export const authHeader = "Troupe-Auth"

/** Hand-outs that neither the envelope nor the server counts. */
export const deliveriesHeader = "Troupe-Deliveries"

const checked = { [checkHeader]: "1" }

export interface Publication {
  /** Encoded. */
  readonly id: string
  readonly envelope: Envelope.Envelope
  readonly bytes: Uint8Array
  /** 0: there is no row. */
  readonly auth: number
  readonly dueAt: number
  /** Of its row. */
  readonly nonce: string
  /** Its row, if that waits: whoever wrote it has stored its due time before. */
  readonly waiting?: Waiting | undefined
  /** The first revision of a keyed job has to join its mailbox; a later one has its place there. */
  readonly isFirst: boolean
  /** It finds no room among what is due: it waits among the delayed ones, which have no limit. */
  readonly hasNoRoom?: boolean
  /** Published for the first time by whoever wrote the row, or again by whoever found it. */
  readonly isRepeat: boolean
}

export const ofRow = (row: Row.Live): Publication => ({
  id: Names.encode(row.envelope.id),
  envelope: row.envelope,
  bytes: row.bytes,
  auth: row.auth,
  dueAt: row.dueAt,
  nonce: row.nonce,
  waiting: row.waits ? row : undefined,
  isFirst: row.isFirst,
  isRepeat: true
})

/** A job that is due joins its priority. */
const ready = (names: Names.QueueNames, { auth, bytes, envelope, id, isRepeat }: Publication): Publish => ({
  subject: Names.job(names, envelope.priority, id, auth),
  bytes,
  headers: isRepeat ? checked : undefined,
  messageId: `${id}.${auth}`,
  expected: 0
})

const checkedOnce = { headers: checked, expected: 0 }

/**
 * A job that has no row, published by whoever made its id: nothing of that name can be there, so nothing is asked for.
 * Once it may be there, the server knows the message id, and whoever gets a second one looks at the row.
 */
export const first = (
  names: Names.QueueNames,
  priority: string,
  id: string,
  head: string | undefined,
  bytes: Uint8Array
): Publish => ({
  subject: Names.job(names, priority, id, 0),
  head,
  bytes,
  messageId: `${id}.0`,
  again: checkedOnce
})

/** A keyed job that is due joins its mailbox, and the key wakes. */
const join = (names: Names.QueueNames, one: Publication, key: string): ReadonlyArray<Publish> => {
  const wake = Token.wake(names, key)
  if (!one.isFirst) return [wake]
  const headers = { [authHeader]: String(one.auth) }
  return [
    { subject: Names.mailbox(names, key), bytes: one.bytes, headers, messageId: `${one.id}.${one.auth}` },
    wake
  ]
}

export class Publisher {
  private readonly streams: Streams
  private readonly clock: BrokerClock
  private readonly agenda: Agenda

  constructor(streams: Streams, clock: BrokerClock, agenda: Agenda) {
    this.streams = streams
    this.clock = clock
    this.agenda = agenda
  }

  /** Whether a job joins the delayed ones. */
  private isDelayed(one: Publication, now: number): boolean {
    // what waited is handed out only after its row was written anew
    const waits = one.waiting !== undefined || one.dueAt > now
    // a key keeps its turn while its head waits: the token waits, too
    if (one.envelope.key !== undefined && (!waits || !one.isFirst)) return false
    return waits || one.hasNoRoom === true
  }

  /** Puts these among the delayed ones, unless they are there. One answer each. */
  private readonly delay = Effect.fnUntraced({ self: this }, function*(
    names: Names.QueueNames,
    jobs: ReadonlyArray<Publication>
  ): Effect.fn.Return<ReadonlyArray<TransportError | undefined>, TransportError> {
    const rows = jobs.flatMap(({ waiting }) => waiting === undefined ? [] : [waiting])
    const missing = new Set(yield* this.agenda.missing(names, rows))
    const open = jobs.filter(({ waiting }) => waiting === undefined || missing.has(waiting))
    const noted = yield* this.agenda.note(names, open)
    const errors = new Map(open.map((one, index) => [one, noted[index]!]))
    return jobs.map((one) => {
      const answer = errors.get(one)
      return answer instanceof TransportError ? answer : undefined
    })
  })

  /** In the order in which they have to be stored. */
  private messages(names: Names.QueueNames, one: Publication): ReadonlyArray<Publish> {
    const { key } = one.envelope
    return key === undefined ? [ready(names, one)] : join(names, one, Names.encode(key))
  }

  private due(
    names: Names.QueueNames,
    jobs: ReadonlyArray<Publication>
  ): Effect.Effect<ReadonlyArray<TransportError | undefined>> {
    const messages: Array<Publish> = []
    const parts = jobs.map((one) => {
      const from = messages.length
      messages.push(...this.messages(names, one))
      return { from, to: messages.length }
    })
    return Effect.map(this.streams.publish(messages), (answers) => {
      const errors = answers.map((answer) => errorOf(names, answer))
      return parts.map(({ from, to }) => {
        for (let at = from; at < to; at++) if (errors[at] !== undefined) return errors[at]
        return undefined
      })
    })
  }

  /** One answer per job: an error if it could not be published. */
  publish(
    names: Names.QueueNames,
    jobs: ReadonlyArray<Publication>
  ): Effect.Effect<ReadonlyArray<TransportError | undefined>> {
    const now = this.clock.now()
    const delayed: Array<Publication> = []
    const others: Array<Publication> = []
    for (const one of jobs) (this.isDelayed(one, now) ? delayed : others).push(one)
    if (delayed.length === 0) return this.due(names, jobs)
    return Effect.zipWith(
      Effect.catch(this.delay(names, delayed), (error) => Effect.succeed(delayed.map(() => error))),
      this.due(names, others),
      (ofDelayed, ofOthers) => {
        const errors = new Map([
          ...delayed.map((one, index) => [one, ofDelayed[index]] as const),
          ...others.map((one, index) => [one, ofOthers[index]] as const)
        ])
        return jobs.map((one) => errors.get(one))
      }
    )
  }

  /** Fails if one of them could not be published. */
  publishAll(names: Names.QueueNames, jobs: ReadonlyArray<Publication>): Effect.Effect<void, TransportError> {
    if (jobs.length === 0) return Effect.void
    return Effect.flatMap(this.publish(names, jobs), (errors) => {
      const error = errors.find((one) => one !== undefined)
      return error === undefined ? Effect.void : Effect.fail(error)
    })
  }
}

/** Why a message of a job could not be published. */
export const errorOf = (names: Names.QueueNames, answer: Published): TransportError | undefined => {
  // a token is one small message per key: a full stream must not strand the mailbox behind it
  if (answer._tag === "Full") return Errors.queueFull(names.queue, answer.description)
  return answer._tag === "Failed" ? answer.error : undefined
}
