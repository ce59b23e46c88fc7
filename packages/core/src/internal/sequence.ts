/**
 * Orders what happens in this process, exactly: two readings of a clock may be equal.
 */
let last = 0

/** Greater than every number before. */
export const next = (): number => ++last
