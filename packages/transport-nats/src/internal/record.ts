/**
 * A record as it reads now: the value runs out before the state.
 */
import * as JobRecord from "@troupe/core/JobRecord"
import type { Ended } from "./row.ts"

const nothing = new Uint8Array(0)

/** `now`: ms since the epoch by the broker's clock. */
export const recordOf = ({ record, valueExpiresAt }: Ended, now: number): Uint8Array => {
  if (now < valueExpiresAt) return record
  const decoded = JobRecord.fromBytes(record)
  return decoded.value.length === 0 ? record : JobRecord.toBytes({ ...decoded, value: nothing })
}
