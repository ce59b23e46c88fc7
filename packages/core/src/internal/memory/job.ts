/**
 * A live job of the memory broker, and one hand-out of it.
 */
import type { Envelope } from "../../Envelope.ts"
import type { Delivery, LocatedJob, Place, Settled, Settlement } from "../../JobLog.ts"
import type { Consumer } from "./consumer.ts"
import type { Heaped } from "./heap.ts"
import type { Linked, List } from "./list.ts"

export class Job implements Linked<Job>, Heaped {
  envelope: Envelope
  dueAt: number
  /** Grows with every job of the broker: breaks ties, and pages through a queue. */
  readonly sequence: number
  /** Hand-outs of this revision. */
  handOuts = 0
  /** The job is the one of its key that may run, or waits for a retry and keeps the turn. */
  holdsKey = false
  /** Who held the key before, until the first hand-out. */
  after: HandOut | undefined = undefined
  /** Set while the job runs. */
  lease: HandOut | undefined = undefined
  /** When the lease was last renewed, ms since the epoch. */
  leasedAt = 0

  list: List<Job> | undefined = undefined
  previous: Job | undefined = undefined
  next: Job | undefined = undefined
  heapIndex = -1

  constructor(envelope: Envelope, dueAt: number, sequence: number) {
    this.envelope = envelope
    this.dueAt = dueAt
    this.sequence = sequence
  }

  get place(): Place {
    return this.heapIndex >= 0 ? "scheduled" : this.lease === undefined ? "queued" : "running"
  }

  get located(): LocatedJob {
    return { place: this.place, envelope: this.envelope, dueAt: this.dueAt, record: undefined }
  }
}

/** The scheduled job that is due first. */
export const dueBefore = (a: Job, b: Job): boolean =>
  a.dueAt < b.dueAt || (a.dueAt === b.dueAt && a.sequence < b.sequence)

/** Identified by the object: a later hand-out of the same job is another one. */
export class HandOut implements Delivery {
  readonly envelope: Envelope
  readonly deliveries: number
  readonly suspectRecord = false
  readonly turnId: string | undefined
  readonly follows: string | undefined
  readonly job: Job
  readonly consumer: Consumer
  private settlement: Settlement["_tag"] | undefined = undefined
  private answer: Settled | undefined = undefined

  /** `turn`: greater than that of every hand-out before. */
  constructor(job: Job, consumer: Consumer, turn: number) {
    this.envelope = job.envelope
    this.deliveries = job.envelope.deliveries + job.handOuts
    this.job = job
    this.consumer = consumer
    this.turnId = consumer.turns ? String(turn) : undefined
    this.follows = job.after?.consumer === consumer ? job.after.turnId : undefined
    job.after = undefined
  }

  get current(): boolean {
    return this.job.lease === this
  }

  /** The answer to a settlement that changes nothing: the first answer for a repeat of it. */
  repeated(tag: Settlement["_tag"]): Settled {
    return this.answer !== undefined && this.settlement === tag ? this.answer : "superseded"
  }

  settled(tag: Settlement["_tag"], answer: Settled): Settled {
    this.settlement = tag
    this.answer = answer
    return answer
  }
}
