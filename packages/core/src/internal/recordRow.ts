/**
 * The rows of `Store.records`, which only transports write.
 */
import * as Exit from "effect/Exit"
import * as JobRecord from "../JobRecord.ts"
import { Refused, TransportError } from "../TransportError.ts"

/** The record of a row. Bytes that are none fail for this job alone: they may not end the reads of the others. */
export const read = (
  queue: string,
  id: string,
  bytes: Uint8Array
): Exit.Exit<JobRecord.JobRecord, TransportError> => {
  try {
    return Exit.succeed(JobRecord.fromBytes(bytes))
  } catch (cause) {
    return Exit.fail(
      new TransportError({
        reason: new Refused({
          operation: `reading the record of job "${id}" of queue "${queue}"`,
          description: cause instanceof Error ? cause.message : String(cause),
          cause
        })
      })
    )
  }
}
