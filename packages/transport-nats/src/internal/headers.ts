/**
 * Message headers as text: the client's own builder costs more than the message.
 */
import type { MsgHdrs } from "@nats-io/transport-node"

/** `lines`: `Name: value\r\n` for each, in ASCII. */
export const encode = (lines: string): string => lines === "" ? "" : `NATS/1.0\r\n${lines}\r\n`

/** `publish` of the client takes nothing from its headers but their encoding. */
export const wrap = (bytes: Buffer): MsgHdrs => ({ encode: () => bytes }) as unknown as MsgHdrs

export const none: ReadonlyMap<string, string> = new Map()

export const decode = (headers: MsgHdrs | undefined): ReadonlyMap<string, string> => {
  if (headers === undefined) return none
  const map = new Map<string, string>()
  for (const name of headers.keys()) map.set(name, headers.get(name))
  return map
}

let buffer: ArrayBufferLike | undefined
let view: Uint8Array = new Uint8Array(0)

const [cr, lf, slash, upperN, upperT, upperS, lowerR] = Array.from("\r\n/NTSr", (letter) => letter.charCodeAt(0))

/**
 * Whether a message has headers of ours, by its payload. Decoding them costs as much as all the rest of a delivery, and
 * most have none but JetStream's. They lie right before the payload, and are looked at there; `true` also if what lies
 * there is something else.
 */
export const mayHaveOurs = (data: Uint8Array): boolean => {
  if (data.buffer !== buffer) view = new Uint8Array(buffer = data.buffer)
  const end = data.byteOffset
  if (view[end - 1] !== lf || view[end - 2] !== cr) return true
  // headers end with an empty line; without any, the line before the payload ends with its length
  if (view[end - 3] !== lf) return false
  for (let at = end - 4; at > 0; at--) {
    if (view[at - 1] !== lf) continue
    if (view[at] === upperT && view[at + 1] === lowerR) return true
    // the first line: NATS/1.0
    if (view[at] === upperN && view[at + 2] === upperT && view[at + 3] === upperS && view[at + 4] === slash) {
      return false
    }
  }
  return true
}
