/**
 * Scripts are addressed by the hash of their text, so two releases with
 * different texts work on one server side by side.
 */
import { createHash } from "node:crypto"

export interface Script {
  readonly source: string
  readonly sha: string
}

export const make = (source: string): Script => ({
  source,
  sha: createHash("sha1").update(source).digest("hex")
})
