/**
 * Why the program ends without its report: one line on standard error and exit code 1.
 */
import * as Data from "effect/Data"
import * as Runtime from "effect/Runtime"

export class Failure extends Data.TaggedError("Failure")<{ readonly message: string }> {
  override readonly [Runtime.errorReported] = false
}
