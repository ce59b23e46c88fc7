/**
 * Rows as they lie in the store: in a signed record, when signing is on.
 */
import * as JobRecord from "../../JobRecord.ts"
import type { Signing } from "../../Signing.ts"
import * as Row from "./row.ts"
import type { Address } from "./wire.ts"

const contentType = "application/vnd.troupe.actor"

/** The first byte of a job record. */
const recordFormat = 0xe2

export interface Vault {
  readonly seal: (key: string, row: Row.Row) => Uint8Array
  /** Throws an `Error` that says what is wrong with the bytes. */
  readonly open: (key: string, bytes: Uint8Array) => Row.Row
}

export const make = ({ name, queue }: Address, signing: Signing | undefined): Vault => {
  // no task has this tag: an actor's name has no slash
  const task = `actor/${name}`
  const verify = (key: string, bytes: Uint8Array): Uint8Array => {
    const record = JobRecord.fromBytes(bytes)
    if (record.id !== key || record.queue !== queue || record.task !== task || record.contentType !== contentType) {
      throw new Error(`it was written for "${record.task}", key "${record.id}"`)
    }
    const refused = signing?.verifyRecord(record)
    if (refused !== undefined) throw refused
    return record.value
  }
  return {
    seal: (key, row) => {
      const bytes = Row.toBytes(row)
      return signing === undefined ? bytes : JobRecord.toBytes(signing.signRecord({
        version: JobRecord.version,
        id: key,
        queue,
        task,
        state: "succeeded",
        attempts: 0,
        finishedAt: 0,
        reason: undefined,
        message: undefined,
        contentType,
        value: bytes,
        timeToLive: 0,
        valueTimeToLive: 0,
        replyTo: undefined,
        signature: undefined
      }))
    },
    open: (key, bytes) => {
      if (bytes[0] === recordFormat) return Row.fromBytes(verify(key, bytes))
      if (signing !== undefined) throw new Error("it is not signed")
      return Row.fromBytes(bytes)
    }
  }
}
