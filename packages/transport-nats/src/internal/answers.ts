/**
 * One effect for many requests: a fiber each would cost more than the request.
 */
import * as Effect from "effect/Effect"

/** What many requests come to. */
export class Answers<A> {
  private readonly answers: Array<A>
  private readonly resume: (answers: Effect.Effect<ReadonlyArray<A>>) => void
  private missing: number

  constructor(count: number, resume: (answers: Effect.Effect<ReadonlyArray<A>>) => void) {
    this.answers = Array.from({ length: count })
    this.missing = count
    this.resume = resume
  }

  put(index: number, answer: A): void {
    this.answers[index] = answer
    if (--this.missing === 0) this.resume(Effect.succeed(this.answers))
  }
}

/** `start` begins so many requests, whose answers come by and by. */
export const collect = <A>(
  count: number,
  start: (answers: Answers<A>) => void
): Effect.Effect<ReadonlyArray<A>> =>
  count === 0 ? Effect.succeed([]) : Effect.callback((resume) => start(new Answers<A>(count, resume)))

/** One answer per item. */
export const all = <A, B>(
  items: ReadonlyArray<A>,
  start: (item: A, index: number, answers: Answers<B>) => void
): Effect.Effect<ReadonlyArray<B>> =>
  collect(items.length, (answers) => {
    for (let index = 0; index < items.length; index++) start(items[index]!, index, answers)
  })
