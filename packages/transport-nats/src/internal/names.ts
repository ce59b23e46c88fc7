/**
 * Names of streams and subjects. Words of the user may hold any characters, so
 * they travel encoded: as they are where JetStream takes them, else in base64.
 */
import { hash } from "node:crypto"

const plain = /^[A-Za-z0-9_-]{1,80}$/

/** Subjects have to stay below 4 kB, names of streams are names of directories. */
const longest = 80

/** A word of a subject. Different texts give different words. */
export const encode = (text: string): string => {
  if (plain.test(text)) return text
  // lone surrogates survive as escapes
  const bytes = text.isWellFormed() ? text : JSON.stringify(text)
  const mark = text.isWellFormed() ? "=" : "=j"
  const word = Buffer.from(bytes).toString("base64url")
  // base64url has no "." and no "="
  return word.length <= longest ? `${mark}-${word}` : `=h-${hash("sha256", JSON.stringify(text), "base64url")}`
}

/** ms of due times that share a bucket, hence a consumer. */
export const bucketWidth = 30_000

/** Everything that one queue consists of. */
export interface QueueNames {
  readonly queue: string
  /** The stream of what is due: jobs by priority, and the tokens of keys. */
  readonly work: string
  /** The stream of due times. */
  readonly delays: string
  /** The stream of keyed jobs in their order, and of dead letters. */
  readonly mailboxes: string
  /** The stream of rows, one per id. */
  readonly rows: string
  /** What the subjects of jobs begin with, by priority, dot included. Filled by and by. */
  readonly levels: Map<string, string>
  /** What the subjects of each stream begin with, dot included. */
  readonly prefix: { readonly work: string; readonly delays: string; readonly mailboxes: string; readonly rows: string }
}

export const queueNames = (namespace: string, queue: string): QueueNames => {
  const word = encode(queue)
  return {
    queue,
    work: `${namespace}_W_${word}`,
    delays: `${namespace}_T_${word}`,
    mailboxes: `${namespace}_K_${word}`,
    rows: `${namespace}_R_${word}`,
    levels: new Map(),
    prefix: {
      work: `${namespace}.w.${word}.`,
      delays: `${namespace}.t.${word}.`,
      mailboxes: `${namespace}.k.${word}.`,
      rows: `${namespace}.r.${word}.`
    }
  }
}

// --- rows ---

/** `id` encoded. */
export const row = (names: QueueNames, id: string): string => `${names.prefix.rows}j.${id}`

/** The priorities that jobs were sent with. */
export const levels = (names: QueueNames): string => `${names.prefix.rows}p`

// --- work ---

/** A job; `auth` is the sequence of the row that let it be published, or 0. */
export const job = (names: QueueNames, priority: string, id: string, auth: number): string => {
  let prefix = names.levels.get(priority)
  if (prefix === undefined) names.levels.set(priority, prefix = `${names.prefix.work}p.${encode(priority)}.`)
  return `${prefix}${id}.${auth}`
}

export const allJobs = (names: QueueNames): string => `${names.prefix.work}p.>`

export const jobs = (names: QueueNames, priority: string): string => `${names.prefix.work}p.${encode(priority)}.>`

/** `id` and `auth` of a job's subject. */
export const parseJob = (subject: string): { readonly id: string; readonly auth: number } => {
  const last = subject.lastIndexOf(".")
  const before = subject.lastIndexOf(".", last - 1)
  return { id: subject.slice(before + 1, last), auth: Number(subject.slice(last + 1)) }
}

/** The consumer that a message of the work stream belongs to. */
export const consumerOf = (names: QueueNames, subject: string): string => {
  if (isToken(names, subject)) return tokenConsumer
  const from = names.prefix.work.length + 2
  return `p-${subject.slice(from, subject.indexOf(".", from))}`
}

/** The token of a key; `key` encoded. */
export const token = (names: QueueNames, key: string): string => `${names.prefix.work}t.${key}`

export const tokens = (names: QueueNames): string => `${names.prefix.work}t.>`

export const isToken = (names: QueueNames, subject: string): boolean =>
  subject.startsWith("t.", names.prefix.work.length)

/** The encoded key of a token's or a mailbox's subject. */
export const parseKey = (subject: string): string => subject.slice(subject.lastIndexOf(".") + 1)

/** The durable consumers of the work stream. */
export const jobConsumer = (priority: string): string => `p-${encode(priority)}`
export const tokenConsumer = "t"

// --- mailboxes ---

/** `key` encoded. */
export const mailbox = (names: QueueNames, key: string): string => `${names.prefix.mailboxes}m.${key}`

export const mailboxes = (names: QueueNames): string => `${names.prefix.mailboxes}m.*`

/** A dead letter; `id` encoded. */
export const letter = (names: QueueNames, id: string): string => `${names.prefix.mailboxes}l.${id}`

export const letters = (names: QueueNames): string => `${names.prefix.mailboxes}l.*`

// --- delays ---

export const bucketOf = (dueAt: number): number => Math.floor(dueAt / bucketWidth)

/** Says that a bucket has due times. Whoever holds its delivery looks after the bucket. */
export const index = (names: QueueNames, bucket: number): string => `${names.prefix.delays}i.${bucket}`

export const indexes = (names: QueueNames): string => `${names.prefix.delays}i.*`

export const indexConsumer = "i"

/** The due times of a bucket, all of them. */
export const dues = (names: QueueNames, bucket: number): string => `${names.prefix.delays}m.${bucket}`

export const allDues = (names: QueueNames): string => `${names.prefix.delays}m.*`

/** The bucket of an index or of due times. */
export const parseBucket = (subject: string): number => Number(subject.slice(subject.lastIndexOf(".") + 1))

export const bucketConsumer = (bucket: number): string => `b-${bucket}`

// --- the table and the bus, of the whole namespace ---

export const table = (namespace: string): string => `${namespace}_S`

export const tablePrefix = (namespace: string): string => `${namespace}.s.`

export const busPrefix = (namespace: string): string => `${namespace}.b.`
