/**
 * How records lie in Redis: as `JobRecord.toBytes`, so that their first byte
 * tells them from everything else that `t:<id>` may hold.
 *
 * A value that is kept for a shorter time than the state lies whole in
 * `v:<id>`, and `t:<id>` has the record without it.
 */
import * as JobRecord from "@troupe/core/JobRecord"
import * as Bytes from "./bytes.ts"
import type { Arg } from "./command.ts"

const nothing = new Uint8Array(0)

/** A time to live that Redis takes: whole and at least 1. */
export const milliseconds = (duration: number): number => Math.min(2 ** 42, Math.max(1, Math.ceil(duration)))

const encode = (record: JobRecord.JobRecord): Buffer => Bytes.view(JobRecord.toBytes(record))

/** The same, for a batch: copied only once where that is possible. */
export const toArg = (record: JobRecord.JobRecord): Arg => JobRecord.toParts(record) ?? encode(record)

/** Record, time to live, full record or "", its time to live. */
export const split = (record: JobRecord.JobRecord): [Buffer, string, Buffer | string, string] => {
  const ttl = String(milliseconds(record.timeToLive))
  if (record.valueTimeToLive >= record.timeToLive) return [encode(record), ttl, "", "0"]
  const valueTtl = record.valueTimeToLive <= 0 ? 0 : milliseconds(record.valueTimeToLive)
  return [encode({ ...record, value: nothing }), ttl, encode(record), String(valueTtl)]
}

/** Whether the bytes of `t:<id>` are a record. */
export const isRecord = (bytes: Buffer | null): bytes is Buffer => bytes !== null && bytes[0] === 0xe2
