/**
 * What the simulated workers run: a few tasks of different policies, whose
 * handlers do what the script of their job says.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Task from "../../src/Task.ts"

export class Boom extends Schema.TaggedError<Boom>()("Boom", { n: Schema.Int }) {}

/** One run of a handler. */
export interface Step {
  /** ms until it ends. */
  readonly lasts: number
  readonly ends: "succeeds" | "fails" | "dies" | "retriesAfter" | "snoozes" | "discards" | "hangs" | "kills" | "isBad"
  /** ms, for `retriesAfter` and `snoozes`. */
  readonly delay: number
  /** ms that it takes to clean up when it is interrupted. */
  readonly cleanup: number
  readonly fenced: boolean
}

const payload = Schema.Struct({ n: Schema.Int, unique: Schema.String })

const common = { payload, success: Schema.Int, error: Boom }

const tasks = {
  Plain: Task.make("Plain", { ...common, queue: "a", maxAttempts: 3, retry: Schedule.spaced("300 millis") }),
  Backoff: Task.make("Backoff", {
    ...common,
    queue: "a",
    maxAttempts: 5,
    retry: Schedule.jittered(Schedule.exponential("200 millis"))
  }),
  Timed: Task.make("Timed", {
    ...common,
    queue: "a",
    maxAttempts: 2,
    timeout: "1500 millis",
    retry: Schedule.spaced("500 millis")
  }),
  /** Only workers of the new version know it. */
  Late: Task.make("Late", { ...common, queue: "a", maxAttempts: 3, retry: Schedule.spaced("100 millis") }),
  Slow: Task.make("Slow", {
    ...common,
    queue: "b",
    maxAttempts: 2,
    retry: Schedule.spaced("2 seconds"),
    resultTimeToLive: 0
  }),
  Once: Task.make("Once", { ...common, queue: "b", maxAttempts: 1 }),
  Unique: Task.make("Unique", {
    ...common,
    queue: "b",
    maxAttempts: 3,
    idempotencyKey: ({ unique }) => unique,
    retry: Schedule.spaced("700 millis")
  }),
  Short: Task.make("Short", {
    ...common,
    queue: "b",
    maxAttempts: 4,
    expiresIn: "4 seconds",
    retry: Schedule.spaced("900 millis")
  })
}

export type Tag = keyof typeof tasks
export type AnyTask = typeof tasks[Tag]

export const byTag: Readonly<Record<Tag, AnyTask>> = tasks
export const tags = Object.keys(tasks) as ReadonlyArray<Tag>

export type Handler = Task.HandlerFn<typeof payload, typeof Schema.Int, typeof Boom, never>

/** One handler for every task. */
export const toLayer = (handler: Handler) =>
  Layer.mergeAll(
    tasks.Plain.toLayer(handler),
    tasks.Backoff.toLayer(handler),
    tasks.Timed.toLayer(handler),
    tasks.Late.toLayer(handler),
    tasks.Slow.toLayer(handler),
    tasks.Once.toLayer(handler),
    tasks.Unique.toLayer(handler),
    tasks.Short.toLayer(handler)
  )

const isTag = (tag: string): tag is Tag => Object.hasOwn(tasks, tag)

/** The least delay (ms) that the schedule of a task puts before the attempt after `attempt`. */
export const leastRetryDelay = (tag: string, attempt: number): number => {
  if (!isTag(tag)) return 0
  switch (tag) {
    case "Plain":
      return 300
    case "Backoff":
      return Math.floor(0.8 * 200 * 2 ** (attempt - 1))
    case "Timed":
      return 500
    case "Late":
      return 100
    case "Slow":
      return 2_000
    case "Once":
      return 0
    case "Unique":
      return 700
    case "Short":
      return 900
  }
}

export const maxAttempts = (tag: string): number | undefined => isTag(tag) ? tasks[tag].policy.maxAttempts : undefined

/** What a handler needs of the world around it. */
export interface Stage {
  /** Ends the process that the handler runs in. Nothing comes after it. */
  readonly die: () => void
  /** Completes once all faults are over. */
  readonly healed: Effect.Effect<void>
  /** Called when it is interrupted, before it cleans up. */
  readonly onInterrupt: () => void
}

export const perform = (
  step: Step,
  n: number,
  stage: Stage
): Effect.Effect<number, Boom | Task.Control> => {
  const run = Effect.suspend((): Effect.Effect<number, Boom | Task.Control> => {
    switch (step.ends) {
      case "succeeds":
        return Effect.succeed(n)
      case "isBad":
        return Effect.succeed(n + 0.5)
      case "fails":
        return Effect.fail(new Boom({ n }))
      case "dies":
        return Effect.die(new Error(`defect of job ${n}`))
      case "retriesAfter":
        return Effect.fail(new Task.RetryAfter({ delay: Duration.millis(step.delay), reason: "later" }))
      case "snoozes":
        return Effect.fail(new Task.Snooze({ delay: Duration.millis(step.delay) }))
      case "discards":
        return Effect.fail(new Task.Discard({ reason: "never" }))
      case "hangs":
        return Effect.as(stage.healed, n)
      case "kills":
        return Effect.andThen(Effect.sync(stage.die), Effect.never)
    }
  })
  const timed = step.lasts === 0 ? run : Effect.andThen(Effect.sleep(step.lasts), run)
  const cleanUp = step.cleanup === 0 ? Effect.void : Effect.sleep(step.cleanup)
  return Effect.onInterrupt(timed, () => Effect.andThen(Effect.sync(stage.onInterrupt), cleanUp))
}
