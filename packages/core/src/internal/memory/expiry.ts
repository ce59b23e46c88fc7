/**
 * Forgets what ran out. Items share a bucket per second, so that a million
 * records cost a million array slots and not a million timers.
 *
 * Sweeping is about memory only: readers compare times themselves.
 */
import { Heap, type Heaped } from "./heap.ts"
import type { Timer, Timers } from "./timers.ts"

export interface Expiring {
  /** The second at which the item is looked at; `Infinity` if it is in no bucket. */
  bucket: number
  /** Drops what ran out. Answers when to look again, ms since the epoch, or `Infinity`. */
  readonly expire: (now: number) => number
}

interface Bucket extends Heaped {
  readonly second: number
  readonly items: Array<Expiring>
}

export class Expiry implements Timer {
  wakeAt = Infinity
  heapIndex = -1
  private readonly timers: Timers
  private readonly buckets = new Map<number, Bucket>()
  private readonly order = new Heap<Bucket>((a, b) => a.second < b.second)

  constructor(timers: Timers) {
    this.timers = timers
  }

  /** Items in buckets. */
  get size(): number {
    let size = 0
    for (const bucket of this.buckets.values()) size += bucket.items.length
    return size
  }

  /** Looks at `item` within a second after `at`. */
  add(item: Expiring, at: number): void {
    const second = Math.ceil(at / 1000)
    // an item that is looked at before is looked at again when it must be
    if (second >= item.bucket || second === Infinity) return
    item.bucket = second
    let bucket = this.buckets.get(second)
    if (bucket === undefined) {
      bucket = { second, items: [], heapIndex: -1 }
      this.buckets.set(second, bucket)
      this.order.push(bucket)
      this.timers.set(this, second * 1000)
    }
    bucket.items.push(item)
  }

  ring(now: number): void {
    let bucket = this.order.peek()
    while (bucket !== undefined && bucket.second * 1000 <= now) {
      this.order.remove(bucket)
      this.buckets.delete(bucket.second)
      for (const item of bucket.items) {
        // it moved to an earlier bucket since
        if (item.bucket !== bucket.second) continue
        item.bucket = Infinity
        this.add(item, item.expire(now))
      }
      bucket = this.order.peek()
    }
    if (bucket !== undefined) this.timers.set(this, bucket.second * 1000)
  }
}
