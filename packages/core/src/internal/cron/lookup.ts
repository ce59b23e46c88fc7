/**
 * Reads runs by the keys that the state of their job keeps. The tick of a
 * schedule has no row before it runs: most rows are written once less for it.
 */
import * as Effect from "effect/Effect"
import type { Transport } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"
import type { Definition } from "./definition.ts"
import { type Open, repair } from "./repair.ts"
import * as Runs from "./runs.ts"

export interface Wanted {
  readonly definition: Definition
  readonly key: string
}

/** `undefined` for keys that are no tick. */
const unstarted = ({ definition, key }: Wanted, now: number): Open | undefined => {
  const { jitter, keep, name, what } = definition
  const tick = Date.parse(key)
  // an older row has run out
  if (!(tick > now - keep.age)) return undefined
  const queue = what._tag === "Task" ? what.queue : undefined
  const row = Runs.fresh({ name, key, tick, trigger: "schedule", age: keep.age, queue }, tick + jitter)
  return { row, revision: 0 }
}

/** The runs as they are, those closed whose end nobody has told. Those that are gone are left out. */
export const lookUp = (
  transport: Transport["Service"],
  wanted: ReadonlyArray<Wanted>
): Effect.Effect<ReadonlyArray<Runs.RunRow>, TransportError> =>
  Effect.gen(function*() {
    const found = yield* Runs.runs.read(
      transport,
      wanted.map(({ definition, key }) => Runs.rowKey(definition.name, key))
    )
    const now = yield* transport.clock
    const rows = found.flatMap(({ revision, value }, index) =>
      value === undefined ? unstarted(wanted[index]!, now) ?? [] : { row: value, revision }
    )
    return yield* repair(transport, rows, now)
  })
