/**
 * How scripts get the routing of an envelope.
 */
import * as Envelope from "@troupe/core/Envelope"
import * as Bytes from "./bytes.ts"

/** "" without a key, else "k" and the key. */
export const keyOf = (envelope: Envelope.Envelope): string => envelope.key === undefined ? "" : `k${envelope.key}`

/** Longer delays and later times are cut to this: a score and a delay stay exact numbers. */
const farthest = 2 ** 42

const whole = (milliseconds: number): string => String(Math.min(farthest, Math.max(0, Math.ceil(milliseconds))))

/** Level, kind of due and due. */
export const encode = ({ due, priority }: Envelope.Envelope): [level: string, kind: string, due: string] => {
  if (due === undefined) return [priority, "", ""]
  return due._tag === "At" ? [priority, "at", whole(due.at)] : [priority, "in", whole(due.after)]
}

/** The same, for a batch: copied only once where that is possible. */
export const toArg = (envelope: Envelope.Envelope): Envelope.Parts | Buffer =>
  Envelope.toParts(envelope) ?? toBytes(envelope)

export const toBytes = (envelope: Envelope.Envelope): Buffer => Bytes.view(Envelope.toBytes(envelope))
