/**
 * What producer, worker and waiter share: definitions only.
 */
import * as Task from "@troupe/core/Task"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"

const queue = "interop {|} \u{1F3AD}"

export class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", {
  article: Schema.String,
  until: Schema.Date
}) {}

/** Values that JSON alone would lose. */
export const Parcel = Schema.Struct({
  text: Schema.String,
  bytes: Schema.Uint8Array,
  at: Schema.Date,
  count: Schema.BigInt,
  tags: Schema.ReadonlyMap(Schema.String, Schema.Number)
})

export class Echo extends Task.make("Echo", { payload: Parcel, success: Parcel, queue, priority: "high" }) {}

export class Order extends Task.make("Order", {
  payload: { article: Schema.String, failures: Schema.Number },
  success: Schema.Struct({ attempt: Schema.Number, headers: Schema.Record(Schema.String, Schema.String) }),
  error: OutOfStock,
  maxAttempts: 3,
  retry: Schedule.spaced("100 millis"),
  queue
}) {}

/** Answers its place among the jobs of its key. */
export class Append extends Task.make("Append", {
  payload: { list: Schema.String, item: Schema.String },
  success: Schema.Array(Schema.String),
  key: ({ list }) => list,
  queue
}) {}

/** Answers whether it started at its due time or later. */
export class Later extends Task.make("Later", { payload: { ms: Schema.Number }, success: Schema.Boolean, queue }) {}

/** Reports progress until it is cancelled. */
export class Endless extends Task.make("Endless", { queue }) {}

export class Broken extends Task.make("Broken", { maxAttempts: 1, queue }) {}

/** No worker implements it at once. */
export class Expiring extends Task.make("Expiring", { queue, expiresIn: 0 }) {}

export const all = [Echo, Order, Append, Later, Endless, Broken, Expiring] as const
