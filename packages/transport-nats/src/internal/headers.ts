/**
 * Message headers as bytes: the client's own builder costs more than the message.
 */
import type { MsgHdrs } from "@nats-io/transport-node"

/** `undefined` without a header. */
export const encode = (headers: ReadonlyArray<readonly [name: string, value: string]>): Buffer | undefined => {
  if (headers.length === 0) return undefined
  let text = "NATS/1.0\r\n"
  for (const [name, value] of headers) text += `${name}: ${value}\r\n`
  return Buffer.from(`${text}\r\n`, "latin1")
}

/** `publish` of the client takes nothing from its headers but their encoding. */
export const wrap = (bytes: Buffer): MsgHdrs => ({ encode: () => bytes }) as unknown as MsgHdrs

const none: ReadonlyMap<string, string> = new Map()

export const decode = (headers: MsgHdrs | undefined): ReadonlyMap<string, string> => {
  if (headers === undefined) return none
  const map = new Map<string, string>()
  for (const name of headers.keys()) map.set(name, headers.get(name))
  return map
}
