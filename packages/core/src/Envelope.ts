/**
 * The wire record of a job: what a producer sends and a worker leases.
 *
 * An envelope is immutable. A worker that retries, snoozes or releases a job
 * writes a *successor*: the same identity with the next `revision` and changed
 * routing. Whoever writes an envelope signs it.
 */
import * as Frame from "./internal/frame.ts"
import { headers as Names } from "./internal/telemetry/names.ts"
import { type Found, Templates } from "./internal/template.ts"

export type { Parts } from "./internal/frame.ts"

/** The envelope version that this release writes. A worker dead-letters versions it does not know. */
export const version = 1

/**
 * Whether this release knows everything that an envelope of this version says.
 * What it does not know it must not write again: that would be lost.
 */
export const isKnown = (version: number): boolean => version === 1

/** When a job becomes due: at a time (ms since the epoch) or after a delay (ms), both by the broker's clock. */
export type Due =
  | { readonly _tag: "At"; readonly at: number }
  | { readonly _tag: "After"; readonly after: number }

export interface Envelope {
  readonly version: number

  // --- identity: never changes ---
  /** Unique within the queue. */
  readonly id: string
  readonly queue: string
  /** The tag of the task. */
  readonly task: string
  /** The mailbox: jobs of one key run one at a time, in order. */
  readonly key: string | undefined
  readonly contentType: string
  readonly headers: Readonly<Record<string, string>>
  /** ms since the epoch by the broker's clock, when the job was first enqueued. */
  readonly enqueuedAt: number
  /** No attempt starts after this time (ms since the epoch, broker's clock). */
  readonly expiresAt: number | undefined
  /** Attempts allowed for this job; `undefined` leaves it to the task's definition in the worker. */
  readonly maxAttempts: number | undefined
  /** The client that waits for results on its own topic. */
  readonly replyTo: string | undefined
  /** The encoded payload. Not copied: do not write to it. */
  readonly body: Uint8Array

  // --- routing: changes with every successor ---
  /** 0 at enqueue, one more with every successor. */
  readonly revision: number
  readonly priority: string
  readonly due: Due | undefined
  /** The number of the next attempt that counts, from 1. */
  readonly attempt: number
  /** Hand-outs so far that the broker's own count does not know of. */
  readonly deliveries: number
  /** When this envelope was written, ms since the epoch by the broker's clock. Signatures age from here, or from the due time. */
  readonly writtenAt: number
  /** When a worker that does not know the task first met the job. */
  readonly unknownSince: number | undefined
  /** What the last attempt failed with, shortened. */
  readonly lastError: string | undefined
  /** W3C `traceparent` of the span of the last attempt. */
  readonly prevTraceparent: string | undefined

  readonly signature: string | undefined
}

/** The version of what a transport puts around bytes that are no envelope. No release writes it. */
const unreadableVersion = 0

/** Whether these are bytes that are no envelope, in one: see `unreadable`. */
export const isUnreadable = (self: Envelope): boolean => self.version === unreadableVersion

/**
 * Around bytes that are no envelope, written by something else or damaged: a
 * worker dead-letters the job, with the bytes as its body.
 */
export const unreadable = (
  { id, key, priority, queue }: Pick<Envelope, "id" | "key" | "priority" | "queue">,
  bytes: Uint8Array
): Envelope => ({
  version: unreadableVersion,
  id,
  queue,
  task: "",
  key,
  contentType: "application/octet-stream",
  headers: {},
  enqueuedAt: 0,
  expiresAt: undefined,
  maxAttempts: undefined,
  replyTo: undefined,
  body: bytes,
  revision: 0,
  priority,
  due: undefined,
  attempt: 1,
  deliveries: 0,
  writtenAt: 0,
  unknownSince: undefined,
  lastError: undefined,
  prevTraceparent: undefined,
  signature: undefined
})

/** What a successor may change. */
export interface Changes {
  readonly due: Due | undefined
  readonly writtenAt: number
  readonly attempt?: number
  readonly deliveries?: number
  readonly unknownSince?: number | undefined
  readonly lastError?: string | undefined
  readonly prevTraceparent?: string | undefined
}

/** The next revision of a job, unsigned. */
export const successor = (self: Envelope, changes: Changes): Envelope => ({
  ...self,
  ...changes,
  revision: self.revision + 1,
  signature: undefined
})

/** When the job may start (ms since the epoch), given the time at which the broker accepted the envelope. */
export const dueAt = (self: Envelope, acceptedAt: number): number =>
  self.due === undefined ? acceptedAt : self.due._tag === "At" ? self.due.at : acceptedAt + self.due.after

const format = 0xe1
const what = "an envelope"

/**
 * The wire format: byte 0xe1, the length of a JSON header (u32, big-endian),
 * the header in UTF-8, then the body as it is. All strings survive, lone
 * surrogates too. The answer may be a view of a shared buffer: copy it before
 * you transfer or write to it.
 *
 * Throws an `Error` if a number is not finite.
 */
export const toBytes = (self: Envelope): Uint8Array => {
  const at = self.due?._tag === "At" ? self.due.at : undefined
  const after = self.due?._tag === "After" ? self.due.after : undefined
  checkNumbers(self)
  const header = writeUsual(self, false)
  if (header !== undefined) return Frame.write(format, header, self.body)
  // defaults are left out: parsing is the larger part of the cost of a delivery
  return Frame.toBytes(format, {
    v: self.version,
    i: self.id,
    q: self.queue,
    t: self.task,
    c: self.contentType,
    e: self.enqueuedAt,
    k: self.key,
    h: isEmpty(self.headers) ? undefined : self.headers,
    x: self.expiresAt,
    m: self.maxAttempts,
    r: self.replyTo,
    n: self.revision === 0 ? undefined : self.revision,
    p: self.priority,
    at,
    in: after,
    a: self.attempt === 1 ? undefined : self.attempt,
    d: self.deliveries === 0 ? undefined : self.deliveries,
    w: self.writtenAt === self.enqueuedAt ? undefined : self.writtenAt,
    u: self.unknownSince,
    l: self.lastError,
    tp: self.prevTraceparent,
    s: self.signature
  }, self.body)
}

/** `toBytes` in two parts, for most first envelopes; `undefined` for others. */
export const toParts = (self: Envelope): Frame.Parts | undefined => {
  checkNumbers(self)
  const header = writeUsual(self, true)
  return header === undefined ? undefined : Frame.parts(format, header, self.body)
}

/**
 * Reads `toBytes`; `body` is a view of the input. Throws an `Error` that says
 * what is wrong with the bytes.
 *
 * Every version keeps the header fields of version 1 and may add some, so the
 * envelope of a newer release is read as far as it can be dead-lettered, with
 * its `version` as found. Check `version` before anything else.
 */
export const fromBytes = (bytes: Uint8Array): Envelope => {
  const { body, text } = Frame.fromBytes(format, what, bytes)
  let found = likely.read(text)
  for (let i = 0; found === undefined && i < usual.length; i++) {
    likely = usual[i]!
    found = likely.read(text)
  }
  if (found !== undefined) return ofUsual(found, body, likely === linked)
  const header = Frame.parse(what, text)
  const source: Frame.Source = { what, header }
  const at = Frame.getOptionalNumber(source, "at", "due")
  const after = Frame.getOptionalNumber(source, "in", "due")
  const enqueuedAt = Frame.getNumber(source, "e", "enqueuedAt")
  const self: Envelope = {
    version: Frame.getVersion(source),
    id: Frame.getString(source, "i", "id"),
    queue: Frame.getString(source, "q", "queue"),
    task: Frame.getString(source, "t", "task"),
    key: Frame.getOptionalString(source, "k", "key"),
    contentType: Frame.getString(source, "c", "contentType"),
    headers: Frame.getStrings(source, "h", "headers"),
    enqueuedAt,
    expiresAt: Frame.getOptionalNumber(source, "x", "expiresAt"),
    maxAttempts: Frame.getOptionalNumber(source, "m", "maxAttempts"),
    replyTo: Frame.getOptionalString(source, "r", "replyTo"),
    body,
    revision: Frame.getNumber(source, "n", "revision", 0),
    priority: Frame.getString(source, "p", "priority"),
    due: at !== undefined ? { _tag: "At", at } : after !== undefined ? { _tag: "After", after } : undefined,
    attempt: Frame.getNumber(source, "a", "attempt", 1),
    deliveries: Frame.getNumber(source, "d", "deliveries", 0),
    writtenAt: Frame.getNumber(source, "w", "writtenAt", enqueuedAt),
    unknownSince: Frame.getOptionalNumber(source, "u", "unknownSince"),
    lastError: Frame.getOptionalString(source, "l", "lastError"),
    prevTraceparent: Frame.getOptionalString(source, "tp", "prevTraceparent"),
    signature: Frame.getOptionalString(source, "s", "signature")
  }
  templatesOf(self)?.learn(text, usualOf(self))
  return self
}

/** What most first envelopes of a task have in common. */
type Usual = Pick<Envelope, "queue" | "task" | "contentType" | "priority">

const usualOf = ({ contentType, priority, queue, task }: Usual): Usual => ({ queue, task, contentType, priority })

const members = (fields: Readonly<Record<string, string>>): string => JSON.stringify(fields).slice(1, -1)

const templates = (traceparent: readonly [before: string, after: string]) =>
  new Templates<Usual>(
    { start: "{\"v\":1,\"i\":\"", key: ",\"k\":\"", traceparent, replyTo: ",\"r\":\"", signature: ",\"s\":\"" },
    (a, b) => a.task === b.task && a.queue === b.queue && a.contentType === b.contentType && a.priority === b.priority,
    ({ contentType, priority, queue, task }) => [
      `",${members({ q: queue, t: task, c: contentType })},"e":`,
      "",
      `,${members({ p: priority })}`
    ]
  )

const traceBefore = `,"h":{"${Names.traceparent}":"`
const untraced = templates(["", ""])
/** Part of the trace that its headers name. */
const traced = templates([traceBefore, "\"}"])
/** With a link to it: of large batches. */
const linked = templates([traceBefore, `",${members({ [Names.trace]: "link" })}}`])
const usual = [untraced, traced, linked]
// as the last header was: one that is not so is read almost to its end before it shows
let likely = untraced

const usualVersion = 1

/** Neither a successor nor with options. */
const isBare = (self: Envelope): boolean =>
  self.version === usualVersion && self.revision === 0 && self.attempt === 1 && self.deliveries === 0 &&
  self.due === undefined && self.expiresAt === undefined && self.maxAttempts === undefined &&
  self.writtenAt === self.enqueuedAt && self.unknownSince === undefined && self.lastError === undefined &&
  self.prevTraceparent === undefined

/** How the usual headers of a job are written that has no others than those of its trace. */
const templatesOf = (self: Envelope): Templates<Usual> | undefined => {
  if (!isBare(self)) return undefined
  let found = untraced
  for (const name in self.headers) {
    if (found === untraced && name === Names.traceparent) found = traced
    else if (found === traced && name === Names.trace && self.headers[name] === "link") found = linked
    else return undefined
  }
  return found
}

const writeUsual = (self: Envelope, mustBeAscii: boolean): string | undefined => {
  const { enqueuedAt, headers, id, key, replyTo, signature } = self
  const { traceparent } = headers satisfies Named
  return templatesOf(self)
    ?.write(self, usualOf, id, enqueuedAt, key, traceparent, replyTo, signature, mustBeAscii)
}

// shared by many: nobody may write to it
const noHeaders: Envelope["headers"] = Object.freeze({})

// names as literals: computed ones cost a hundred ns
const headersOf = (traceparent: string, isLinked: boolean): Envelope["headers"] =>
  isLinked ? { traceparent, "troupe-trace": "link" } satisfies Named : { traceparent } satisfies Named

type Named = { readonly [N in typeof Names.traceparent | typeof Names.trace]?: string }

const ofUsual = (
  { fields, id, key, replyTo, signature, time, traceparent }: Found<Usual>,
  body: Uint8Array,
  isLinked: boolean
): Envelope => ({
  version: usualVersion,
  id,
  queue: fields.queue,
  task: fields.task,
  key,
  contentType: fields.contentType,
  headers: traceparent === undefined ? noHeaders : headersOf(traceparent, isLinked),
  enqueuedAt: time,
  expiresAt: undefined,
  maxAttempts: undefined,
  replyTo,
  body,
  revision: 0,
  priority: fields.priority,
  due: undefined,
  attempt: 1,
  deliveries: 0,
  writtenAt: time,
  unknownSince: undefined,
  lastError: undefined,
  prevTraceparent: undefined,
  signature
})

const isEmpty = (headers: Envelope["headers"]): boolean => {
  for (const _ in headers) return false
  return true
}

const dueNumber = (due: Due | undefined): number => due === undefined ? 0 : due._tag === "At" ? due.at : due.after

const checkNumbers = (self: Envelope): void => {
  const sum = self.version + self.enqueuedAt + (self.expiresAt ?? 0) + (self.maxAttempts ?? 0) + self.revision +
    self.attempt + self.deliveries + self.writtenAt + (self.unknownSince ?? 0) + dueNumber(self.due)
  // one test for the usual case
  if (Number.isFinite(sum)) return
  const { attempt, deliveries, enqueuedAt, expiresAt, maxAttempts, revision, unknownSince, version, writtenAt } = self
  Frame.checkFinite(`${what} of job "${self.id}"`, {
    version,
    enqueuedAt,
    expiresAt,
    maxAttempts,
    revision,
    due: dueNumber(self.due),
    attempt,
    deliveries,
    writtenAt,
    unknownSince
  })
}
