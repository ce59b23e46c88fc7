import { describe, expect, it } from "@effect/vitest"
import * as Row from "../src/internal/actor/row.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

const row = (id: string, contentType = "application/json"): Row.Row => ({
  applied: 3,
  contentType,
  state: bytes("{\"balance\":1}"),
  last: { id, enqueuedAt: 1_700_000_000_000.25, outcome: { _tag: "Succeeded", contentType, value: bytes("12") } },
  restarts: [],
  stopped: undefined
})

const headerOf = (self: Row.Row) => {
  const written = Row.toBytes(self)
  const length = new DataView(written.buffer, written.byteOffset).getUint32(1)
  return new TextDecoder().decode(written.subarray(5, 5 + length))
}

describe("the row of an actor", () => {
  it.each(["plain", "with \"quotes\"", "back\\slash", "line\nbreak", "ä", "\u007f", "\ud800", ""])(
    "comes back with the id %j, its header as JSON writes it",
    (id) => {
      for (const contentType of ["application/json", "application/\"odd\""]) {
        const self = row(id, contentType)
        const header = headerOf(self)
        expect(JSON.stringify(JSON.parse(header))).toBe(header)
        const back = Row.fromBytes(Row.toBytes(self))
        expect(back.last?.id).toBe(id)
        expect(back.contentType).toBe(contentType)
        expect(back).toEqual({
          ...self,
          state: Uint8Array.from(self.state ?? []),
          last: { ...self.last, outcome: { ...self.last?.outcome, value: Uint8Array.from([0x31, 0x32]) } }
        })
      }
    }
  )

  it("comes back with what only some rows have", () => {
    const stopped = { at: 5, message: "Deposit", id: "x", reason: "why" }
    for (const self of [{ ...row("a"), restarts: [1, 2] }, { ...row("a"), stopped }, Row.empty]) {
      expect(Row.fromBytes(Row.toBytes(self))).toEqual(self)
    }
  })
})
