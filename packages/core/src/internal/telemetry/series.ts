/**
 * Time series of one metric, bound at their first use.
 */
import type { Recorder } from "../../Telemetry.ts"
import type { MetricDefinition } from "./metrics.ts"
import { attributes as names, other, system } from "./names.ts"

export type Labels = Readonly<Record<string, string>>

/** What all series say that belong to this transport, and to this queue. */
export const labelsOf = (transport: string, queue?: string | undefined): Labels => ({
  [names.system]: system,
  [names.transport]: transport,
  ...(queue === undefined ? {} : { [names.queue]: queue })
})

/** Values of one attribute that get a series of their own. Tags and names come from code, but nobody can be sure. */
const most = 200

/** One series per value; what is too much goes to one more. */
export const byValue = <A>(bind: (value: string) => A): (value: string) => A => {
  const bound = new Map<string, A>()
  return (value) => {
    const found = bound.get(value)
    if (found !== undefined) return found
    if (bound.size >= most && value !== other) return ofOther()
    const made = bind(value)
    bound.set(value, made)
    return made
  }
  function ofOther(): A {
    const found = bound.get(other) ?? bind(other)
    bound.set(other, found)
    return found
  }
}

/** Binds metrics that share labels. */
export const binder = (recorder: Recorder, labels: Labels) => (definition: MetricDefinition, more?: Labels) =>
  recorder.bind(definition, more === undefined ? labels : { ...labels, ...more })
