/** What is written to Redis: the same bytes, whatever they are put together from. */
import { expect, test } from "vitest"
import { type Arg, BatchCommand } from "../../packages/transport-redis/src/internal/command.ts"

const written = (first: ReadonlyArray<string>, rest: ReadonlyArray<Arg>) =>
  new BatchCommand("evalsha", first, rest).toWritable()

/** As RESP says: every argument behind its length in bytes. */
const expected = (args: ReadonlyArray<Buffer>) =>
  Buffer.concat([
    Buffer.from(`*${args.length}\r\n`),
    ...args.flatMap((arg) => [Buffer.from(`$${arg.length}\r\n`), arg, Buffer.from("\r\n")])
  ])

const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
const body = Uint8Array.from([0xff, 0, 0x0d, 0x0a])
const parts = { head: "á\u0000\u0000\u0001\u00ff{}", body }
const whole = Buffer.concat([Buffer.from(parts.head, "latin1"), body])

const asBuffer = (arg: Arg): Buffer =>
  typeof arg === "string" ? Buffer.from(arg) : arg === parts ? whole : Buffer.from(arg as Uint8Array)

test("texts, bytes and parts in any order are what they are alone", () => {
  const kinds: ReadonlyArray<Arg> = ["", "plain", "á日本😀", "\u007f\u0080\u00ff", bytes, Buffer.alloc(0), parts]
  for (const a of kinds) {
    for (const b of kinds) {
      for (const c of kinds) {
        const rest = [a, b, c, a]
        expect(written(["hash"], rest)).toEqual(
          expected([Buffer.from("evalsha"), Buffer.from("hash"), ...rest.map(asBuffer)])
        )
      }
    }
  }
  expect(written([], [])).toEqual(expected([Buffer.from("evalsha")]))
})
