/**
 * Turns what a producer says into signed envelopes and sends them.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { EnqueueError, InvalidOption, PayloadTooLarge } from "../EnqueueError.ts"
import type { NewJob } from "../EnqueueOptions.ts"
import * as Envelope from "../Envelope.ts"
import type { Generated } from "../JobLog.ts"
import type { Enqueued } from "../JobRef.ts"
import { defaultLevel } from "../Priority.ts"
import type { Signing } from "../Signing.ts"
import type { Transport } from "../Transport.ts"
import { TransportError } from "../TransportError.ts"
import { dueOf, invalid, millis } from "./due.ts"
import type { Emitter } from "./emitter.ts"
import type { Tracking } from "./tracking.ts"
import type { Waiters } from "./waiters.ts"

type Outcome = Result.Result<Enqueued, EnqueueError | TransportError>

type Headers = Readonly<Record<string, string>>

/** Headers that are given beside a job stand in place of its own: no copy of the job need be made for them. */
export interface Producer {
  readonly send: (
    jobs: Arr.NonEmptyReadonlyArray<NewJob>,
    headersOf?: (job: NewJob) => Headers | undefined
  ) => Effect.Effect<ReadonlyArray<Outcome>, TransportError>
  /** `within` is put around the call of the broker. */
  readonly sendOne: (
    job: NewJob,
    headers?: Headers,
    within?: <A, E>(call: Effect.Effect<A, E>) => Effect.Effect<A, E>
  ) => Effect.Effect<Enqueued, EnqueueError | TransportError>
}

/** Longest id, key, queue, task and priority name, in UTF-16 units: brokers limit what may be a key. */
const maxName = 512

const none: Headers = Object.freeze({})

const all: Generated = { has: () => true }

/** A set is only for calls that mix them with chosen ids. */
const generatedOf = (
  jobs: ReadonlyArray<NewJob>,
  envelopes: ReadonlyArray<Envelope.Envelope>,
  positions: ReadonlyArray<number>
): Generated => {
  const isGenerated = (position: number) => jobs[position]!.id === undefined
  if (positions.every(isGenerated)) return all
  return new Set(envelopes.filter((_, k) => isGenerated(positions[k]!)).map(({ id }) => id))
}

const checkName = (option: string, value: string) => {
  if (typeof value !== "string" || value.length === 0) throw invalid(option, "must be a text that is not empty")
  // brokers take UTF-8: half a surrogate pair would come back as another name
  if (!value.isWellFormed()) throw invalid(option, "must be well-formed Unicode: it has half a surrogate pair")
  if (value.length > maxName) throw invalid(option, `has ${value.length} characters, at most ${maxName} are allowed`)
}

const checkHeaders = (headers: Headers) => {
  for (const name in headers) {
    const value = headers[name]
    if (typeof value !== "string") throw invalid("headers", `must be texts, "${name}" is none`)
    if (!name.isWellFormed() || !value.isWellFormed()) {
      throw invalid("headers", `must be well-formed Unicode, "${name}" has half a surrogate pair`)
    }
  }
}

/** Bytes by which a successor may be larger: it carries the last error. */
const successorRoom = 8_192

/** Bytes that headers take at most: a UTF-16 unit is six of them when JSON escapes it. */
const sizeOf = (headers: Headers) => {
  let units = 0
  for (const name in headers) units += name.length + headers[name]!.length
  return 6 * units
}

/** The whole envelope has to pass the broker, now and as a retry. Small ones are not measured. */
const checkMessage = (envelope: Envelope.Envelope, limit: number) => {
  if (envelope.body.length + sizeOf(envelope.headers) < limit / 2) return
  const bytes = Envelope.toBytes(envelope).length + successorRoom
  if (bytes > limit) throw new PayloadTooLarge({ bytes, limit })
}

export const make = (options: {
  readonly transport: Transport["Service"]
  readonly client: string
  readonly signing: Signing | undefined
  readonly emitter: Emitter
  readonly levels: Arr.NonEmptyReadonlyArray<string>
  readonly payloadLimit: number
  readonly waiters: Waiters
  readonly tracking: Tracking
}): Producer => {
  const { emitter, signing, transport } = options
  const levels = new Set(options.levels)
  const fallbackLevel = levels.has(defaultLevel)
    ? defaultLevel
    : options.levels[Math.floor((options.levels.length - 1) / 2)]!
  const limit = options.payloadLimit
  const messageLimit = transport.capabilities.maxMessageBytes
  let count = 0

  /** Throws an `InvalidOption` or `PayloadTooLarge`. */
  const build = (job: NewJob, now: number, headers = job.headers): Envelope.Envelope => {
    const priority = job.priority ?? fallbackLevel
    checkName("task", job.task)
    checkName("queue", job.queue)
    if (job.id !== undefined) checkName("id", job.id)
    if (job.key !== undefined) checkName("key", job.key)
    if (headers !== undefined) checkHeaders(headers)
    if (!levels.has(priority)) {
      throw invalid("priority", `must be one of ${options.levels.join(", ")} (Priority.Levels), got "${priority}"`)
    }
    if (job.maxAttempts !== undefined && !(Number.isInteger(job.maxAttempts) && job.maxAttempts > 0)) {
      throw invalid("maxAttempts", `must be a whole number of at least 1, got ${job.maxAttempts}`)
    }
    if (job.body.length > limit) throw new PayloadTooLarge({ bytes: job.body.length, limit })
    const envelope: Envelope.Envelope = {
      version: Envelope.version,
      id: job.id ?? `${options.client}-${(count++).toString(36)}`,
      queue: job.queue,
      task: job.task,
      key: job.key,
      contentType: job.contentType,
      headers: headers ?? none,
      enqueuedAt: now,
      expiresAt: job.expiresAt ?? (job.expiresIn === undefined ? undefined : now + millis("expiresIn", job.expiresIn)),
      maxAttempts: job.maxAttempts,
      replyTo: options.client,
      body: job.body,
      revision: 0,
      priority,
      due: dueOf(job),
      attempt: 1,
      deliveries: 0,
      writtenAt: now,
      unknownSince: undefined,
      lastError: undefined,
      prevTraceparent: undefined,
      signature: undefined
    }
    const signed = signing === undefined ? envelope : signing.signEnvelope(envelope)
    if (messageLimit !== undefined) checkMessage(signed, messageLimit)
    return signed
  }

  const tryBuild = (job: NewJob, now: number, headers?: Headers): Envelope.Envelope | EnqueueError => {
    try {
      return build(job, now, headers)
    } catch (error) {
      if (!(error instanceof InvalidOption || error instanceof PayloadTooLarge)) throw error
      return new EnqueueError({ task: String(job.task), queue: String(job.queue), reason: error })
    }
  }

  const handle = (
    envelope: Envelope.Envelope,
    generated: boolean,
    answer: "sent" | "duplicate",
    stamp: number
  ): Enqueued => {
    // a generated id is ours alone: a duplicate of it is a repeat of our own send
    const duplicate = answer === "duplicate" && !generated
    if (!duplicate && emitter.wanted(envelope.queue)) {
      emitter.emit({ _tag: "Enqueued", queue: envelope.queue, task: envelope.task, id: envelope.id, attempt: 1 })
    }
    // the push for a duplicate goes to the client that enqueued the job that stands
    return options.tracking.ref(envelope.queue, envelope.id, duplicate ? undefined : stamp, duplicate)
  }

  const send: Producer["send"] = Effect.fnUntraced(function*(jobs, headersOf) {
    const now = yield* transport.clock
    const stamp = options.waiters.stamp()
    const outcomes: Array<Outcome> = []
    const envelopes: Array<Envelope.Envelope> = []
    /** Of each envelope: which job it is of. */
    const positions: Array<number> = []
    for (let i = 0; i < jobs.length; i++) {
      const built = tryBuild(jobs[i]!, now, headersOf?.(jobs[i]!))
      if (built instanceof EnqueueError) outcomes[i] = Result.fail(built)
      else {
        envelopes.push(built)
        positions.push(i)
      }
    }
    if (!Arr.isReadonlyArrayNonEmpty(envelopes)) return outcomes
    const answers = yield* transport.log.send(envelopes, generatedOf(jobs, envelopes, positions))
    for (let k = 0; k < envelopes.length; k++) {
      const answer = answers[k]!
      const i = positions[k]!
      outcomes[i] = answer instanceof TransportError
        ? Result.fail(answer)
        : Result.succeed(handle(envelopes[k]!, jobs[i]!.id === undefined, answer, stamp))
    }
    return outcomes
  })

  const sendOne: Producer["sendOne"] = (job, headers, within) =>
    Effect.flatMap(transport.clock, (now): Effect.Effect<Enqueued, EnqueueError | TransportError> => {
      const built = tryBuild(job, now, headers)
      if (built instanceof EnqueueError) return Effect.fail(built)
      const stamp = options.waiters.stamp()
      const isGenerated = job.id === undefined
      const call = transport.log.send([built], isGenerated ? all : undefined)
      return Effect.flatMap(within === undefined ? call : within(call), ([answer]) =>
        answer instanceof TransportError
          ? Effect.fail(answer)
          : Effect.succeed(handle(built, isGenerated, answer!, stamp)))
    })

  return { send, sendOne }
}
