/**
 * Publications as requests: one by one, or many that one answer confirms.
 */
import type { Msg } from "@nats-io/transport-node"
import type { TransportError } from "@troupe/core/TransportError"
import { all, type Answers, collect } from "./answers.ts"
import * as Errors from "./errors.ts"
import * as Headers from "./headers.ts"
import type { Ahead, Link, Request, Verdict } from "./link.ts"
import type { Publish, Published, Streams } from "./streams.ts"

const headersOf = ({ expected, headers }: NonNullable<Publish["again"]>, messageId: string | undefined): string => {
  let lines = ""
  // ours first: whoever gets the message looks for them
  if (headers !== undefined) { for (const name in headers) lines += `${name}: ${headers[name]}\r\n` }
  if (messageId !== undefined) lines += `Nats-Msg-Id: ${messageId}\r\n`
  if (expected !== undefined) lines += `Nats-Expected-Last-Subject-Sequence: ${expected}\r\n`
  return Headers.encode(lines)
}

/** How it is known in a run. */
const idOf = ({ messageId, runId }: Publish): string | undefined => messageId ?? runId

interface PublishAnswer {
  readonly seq?: number
  readonly duplicate?: boolean
  readonly error?: Errors.ApiError
}

const [brace, letterS, zero, nine] = [125, 115, 48, 57]

/**
 * The sequence in `{"stream":"…", "seq":17}`, or 0 for any other answer. Parsing the JSON costs as much as the rest of a
 * publish does.
 */
const plainSequence = (data: Uint8Array): number => {
  let at = data.length - 1
  if (data[2] !== letterS || data[at] !== brace) return 0
  let sequence = 0
  for (let unit = 1; --at > 0; unit *= 10) {
    const digit = data[at]!
    if (digit < zero || digit > nine) break
    sequence += (digit - zero) * unit
  }
  return sequence
}

/** The most frequent request: an object without closures. */
class One implements Request {
  readonly message: Publish
  readonly subject: string
  readonly head: string | undefined
  readonly bytes: Uint8Array
  readonly headers: string
  readonly mayWait = true
  private readonly messageId: string | undefined
  private readonly index: number
  private readonly answers: Answers<Published>

  constructor(message: Publish, messageId: string | undefined, index: number, answers: Answers<Published>) {
    this.message = message
    this.messageId = messageId
    this.subject = message.subject
    this.head = message.head
    this.bytes = message.bytes
    this.headers = headersOf(message, messageId)
    this.index = index
    this.answers = answers
  }

  get headersAgain(): string {
    const { again } = this.message
    return again === undefined ? this.headers : headersOf(again, this.messageId)
  }

  get operation(): string {
    return `publish to "${this.subject}"`
  }

  onReply(reply: Msg): Verdict {
    const sequence = plainSequence(reply.data)
    if (sequence > 0) {
      this.answers.put(this.index, { _tag: "Stored", sequence })
      return undefined
    }
    const { duplicate, error, seq } = reply.json<PublishAnswer>()
    if (error === undefined) {
      this.answers.put(this.index, { _tag: duplicate === true ? "Duplicate" : "Stored", sequence: seq ?? 0 })
      return undefined
    }
    switch (Errors.kindOf(error)) {
      case "wrongSequence":
        this.answers.put(this.index, { _tag: "WrongSequence" })
        return undefined
      case "full":
        this.answers.put(this.index, { _tag: "Full", description: Errors.describe(error) })
        return undefined
      case "passing":
      case "noStream":
        return { again: Errors.describe(error) }
      default:
        this.onError(Errors.refused(this.operation, Errors.describe(error)))
        return undefined
    }
  }

  onError(error: TransportError): void {
    this.answers.put(this.index, { _tag: "Failed", error })
  }
}

/** Messages of a run at most: what has to be published again when somebody comes between. */
const longest = 64

/** Bytes after which a run ends. */
const heaviest = 128 * 1024

const stored: Published = { _tag: "Stored", sequence: 0 }

/**
 * Messages that one answer confirms: all but the first say which message has to be the last one of the stream, the one
 * before them. So the last one is stored only if all of them are. When it is not, or nobody knows, each goes its own
 * way, under the id that the server knows it by.
 */
class Run implements Request {
  readonly subject: string
  readonly head: string | undefined
  readonly bytes: Uint8Array
  readonly headers: string
  readonly mayWait = true
  readonly size: number
  private readonly messages: ReadonlyArray<Publish>
  private readonly from: number
  private readonly last: number
  private readonly answers: Answers<Published>
  private readonly pace: Pace

  constructor(
    messages: ReadonlyArray<Publish>,
    from: number,
    to: number,
    answers: Answers<Published>,
    pace: Pace
  ) {
    this.messages = messages
    this.from = from
    this.last = to - 1
    this.size = to - from
    this.answers = answers
    this.pace = pace
    const { bytes, head, subject } = messages[this.last]!
    this.subject = subject
    this.head = head
    this.bytes = bytes
    this.headers = this.headersOf(this.last)
  }

  get operation(): string {
    return `publish ${this.size} messages up to "${this.subject}"`
  }

  private headersOf(index: number): string {
    const message = this.messages[index]!
    let lines = `Nats-Msg-Id: ${idOf(message)}\r\n`
    if (index > this.from) lines += `Nats-Expected-Last-Msg-Id: ${idOf(this.messages[index - 1]!)}\r\n`
    if (message.expected !== undefined) lines += `Nats-Expected-Last-Subject-Sequence: ${message.expected}\r\n`
    return Headers.encode(lines)
  }

  ahead(send: Ahead): void {
    for (let index = this.from; index < this.last; index++) {
      const { bytes, head = "", subject } = this.messages[index]!
      send(subject, this.headersOf(index), head, bytes)
    }
  }

  parts(): ReadonlyArray<Request> {
    const all: Array<Request> = []
    for (let index = this.from; index <= this.last; index++) {
      const message = this.messages[index]!
      all.push(new One(message, idOf(message), index, this.answers))
    }
    return all
  }

  onReply(reply: Msg): Verdict {
    if (plainSequence(reply.data) === 0) {
      this.pace.broken()
      return { parts: this.parts() }
    }
    this.pace.held()
    this.putAll(stored)
    return undefined
  }

  onError(error: TransportError): void {
    this.putAll({ _tag: "Failed", error })
  }

  private putAll(answer: Published): void {
    for (let index = this.from; index <= this.last; index++) this.answers.put(index, answer)
  }
}

/** Messages that go one by one after a run that broke. */
const shortestPause = 512
const longestPause = 65_536

/** Whether runs are worth it: where others publish to the stream at the same time they break. */
class Pace {
  private alone = 0
  private pause = shortestPause

  /** Whether the next so many messages may be a run. */
  mayRun(size: number): boolean {
    if (this.alone <= 0) return true
    this.alone -= size
    return false
  }

  held(): void {
    this.pause = Math.max(shortestPause, this.pause / 2)
  }

  broken(): void {
    // one of several that were under way
    if (this.alone > 0) return
    this.alone = this.pause
    this.pause = Math.min(longestPause, this.pause * 4)
  }
}

const endOfRun = (messages: ReadonlyArray<Publish>, from: number): number => {
  const limit = Math.min(messages.length, from + longest)
  let weight = 0
  let to = from
  while (to < limit && idOf(messages[to]!) !== undefined && (weight += messages[to]!.bytes.length) <= heaviest) to++
  return Math.max(to, from + 1)
}

/** `mayRun`: whether the server looks at the last message and stores the next one in one step. */
export const make = (link: Link, mayRun: boolean): Streams["publish"] => {
  const paces = new Map<string, Pace>()

  const paceOf = (stream: string): Pace => {
    let pace = paces.get(stream)
    if (pace === undefined) paces.set(stream, pace = new Pace())
    return pace
  }

  const startOne = (message: Publish, index: number, answers: Answers<Published>, now?: number): void =>
    link.request(new One(message, message.messageId, index, answers), now)

  const startRuns = (messages: ReadonlyArray<Publish>, stream: string, answers: Answers<Published>): void => {
    const pace = paceOf(stream)
    const now = link.now()
    for (let from = 0; from < messages.length;) {
      const to = endOfRun(messages, from)
      if (to - from > 1 && pace.mayRun(to - from)) link.request(new Run(messages, from, to, answers, pace), now)
      else for (let index = from; index < to; index++) startOne(messages[index]!, index, answers, now)
      from = to
    }
  }

  return (messages, stream) =>
    mayRun && stream !== undefined && messages.length > 1
      ? collect(messages.length, (answers) => startRuns(messages, stream, answers))
      : all<Publish, Published>(messages, startOne)
}
