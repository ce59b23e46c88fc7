/** The tasks of the shop, and what a process of it says to its parent. */
import * as Task from "@troupe/core/Task"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"

export const queue = "shop"

export class Order extends Task.make("Order", { payload: { item: Schema.String }, success: Schema.String, queue }) {}

/** A child of `Order`. */
export class Receipt extends Task.make("Receipt", { payload: { item: Schema.String }, queue }) {}

export class Busy extends Schema.TaggedError<Busy>()("Busy", { until: Schema.String }) {}

/** Fails the first time. */
export class Ship extends Task.make("Ship", {
  payload: {},
  error: Busy,
  queue,
  maxAttempts: 3,
  retry: Schedule.spaced("50 millis")
}) {}

export class Unpaid extends Schema.TaggedError<Unpaid>()("Unpaid", {}) {}

/** Always fails. */
export class Charge extends Task.make("Charge", { payload: {}, error: Unpaid, queue, maxAttempts: 1 }) {}

export class Count extends Task.make("Count", { payload: { n: Schema.Number }, queue }) {}

/** Ends only by a cancel. */
export class Wait extends Task.make("Wait", { payload: {}, queue }) {}

/** Ends its process at the first hand-out. */
export class Crash extends Task.make("Crash", { payload: {}, queue }) {}

export class Tick extends Task.make("Tick", { payload: {}, queue }) {}

export const tasks = [Order, Receipt, Ship, Charge, Count, Wait, Crash, Tick] as const

export type Told =
  | { readonly ready: true }
  | { readonly started: string; readonly id: string }
  /** A scenario ended, with what it came to. */
  | { readonly done: string; readonly ids: ReadonlyArray<string> }
  | { readonly failed: string }

export const tell = (told: Told) => void process.send?.(told)
