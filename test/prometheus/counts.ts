/** How many jobs of each kind a process of these tests is given, in two rounds. */
export const counts = {
  sent: 20,
  /** Fail twice, then succeed. */
  flaky: 4,
  /** Fail for good. */
  broken: 4,
  /** Without a signature. */
  forged: 2,
  /** Of a payload that the worker's schema does not take. */
  unreadable: 2
} as const
