/**
 * Assertions that need no test framework: each dies with a sentence that says
 * what was expected, of what, and what came instead.
 */

/** Says which promise was broken. */
export class CheckFailed extends Error {
  override readonly name = "CheckFailed"
}

export const fail = (message: string): never => {
  throw new CheckFailed(message)
}

export const isTrue = (condition: boolean, message: string): void => {
  if (!condition) fail(message)
}

/** Deep equality. Bytes compare by content whatever class holds them; an absent property equals an undefined one. */
export const equal = <A>(actual: A, expected: A, what: string): void => {
  if (!same(actual, expected)) fail(`${what}: expected ${show(expected)} but got ${show(actual)}`)
}

/** Equality of two lists in any order. */
export const sameMembers = (actual: Iterable<string>, expected: Iterable<string>, what: string): void =>
  equal([...actual].sort(), [...expected].sort(), what)

export const between = (actual: number, least: number, most: number, what: string): void =>
  isTrue(actual >= least && actual <= most, `${what}: expected ${least} to ${most} but got ${actual}`)

/** The value itself, or death if it is missing. */
export const present = <A>(value: A | null | undefined, what: string): A => value ?? fail(`${what} is missing`)

const same = (a: unknown, b: unknown): boolean => {
  if (Object.is(a, b)) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    return a instanceof Uint8Array && b instanceof Uint8Array && a.length === b.length &&
      a.every((byte, index) => byte === b[index])
  }
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const left = new Map(Object.entries(a))
  const right = new Map(Object.entries(b))
  return [...new Set([...left.keys(), ...right.keys()])].every((key) => same(left.get(key), right.get(key)))
}

/** Short enough to read in a report. */
const show = (value: unknown): string => {
  const text = JSON.stringify(value, (_, part: unknown) => {
    if (part instanceof Uint8Array) return `<${part.length} bytes: ${[...part.subarray(0, 16)].join(" ")}>`
    return part === undefined ? "<undefined>" : part
  })
  return text.length > 600 ? `${text.slice(0, 600)}…` : text
}
