/**
 * Replays and drops dead letters.
 */
import type { Redrive, Redriven } from "@troupe/core/JobLog"
import { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Context } from "./context.ts"
import * as Errors from "./errors.ts"
import * as Letter from "./letter.ts"
import * as Names from "./names.ts"
import * as Row from "./row.ts"
import * as Send from "./send.ts"

const redriveOne = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  { as, id }: Redrive
): Effect.fn.Return<Redriven, TransportError> {
  const { clock, rows, streams } = context
  const word = Names.encode(id)
  const subject = Names.letter(names, word)
  const [stored] = yield* streams.last(names.mailboxes, [subject])
  const letter = Letter.read(stored, clock.now())
  if (letter === undefined) return "missing"
  if (as === "drop") {
    const found = yield* rows.readOne(names, word)
    const { row, sequence } = found
    // or a hand-out that comes again would write it again
    if (row?._tag === "Ended" && row.letter !== undefined && Letter.isOf(letter.record, found)) {
      yield* rows.write(names, [{ id: word, bytes: Row.copied(row, clock.now()), expected: sequence }])
    }
  } else {
    const [answer] = yield* Send.send(context, [as], undefined, true)
    if (answer instanceof TransportError) return yield* answer
    if (answer === "duplicate") return "duplicate"
  }
  const removed = yield* streams.purge(names.mailboxes, subject, letter.sequence + 1)
  // of two that drop a letter, one did
  return as === "drop" && removed === 0 ? "missing" : "done"
})

/** One answer per letter. */
export const redrive = Effect.fnUntraced(function*(
  context: Context,
  queue: string,
  letters: ReadonlyArray<Redrive>
): Effect.fn.Return<ReadonlyArray<Redriven>, TransportError> {
  const stray = letters.find(({ as, id }) => as !== "drop" && (as.id !== id || as.queue !== queue))
  if (stray !== undefined) {
    return yield* Errors.refused(`redrive of job "${stray.id}"`, "the new envelope names another job")
  }
  const names = yield* context.queues.find(queue)
  if (names === undefined) return letters.map(() => "missing")
  return yield* Effect.forEach(letters, (letter) => redriveOne(context, names, letter))
})
