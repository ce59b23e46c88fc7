import { assert, describe, it } from "@effect/vitest"
import * as Hmac from "../src/internal/hmac.ts"

const utf8 = (text: string) => new TextEncoder().encode(text)

describe("hmac", () => {
  const hmac = (secret: Uint8Array, data: Uint8Array) => {
    const buffer = new Uint8Array(Hmac.blockSize + data.length)
    buffer.set(data, Hmac.blockSize)
    return Hmac.compute(Hmac.makeKey(secret), buffer, "hex")
  }

  const of = (byte: number, length: number) => new Uint8Array(length).fill(byte)

  // RFC 4231, test cases 1 to 7; the fifth is truncated to 128 bits
  it.each([
    [of(0x0b, 20), utf8("Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"],
    [
      utf8("Jefe"),
      utf8("what do ya want for nothing?"),
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    ],
    [of(0xaa, 20), of(0xdd, 50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"],
    [
      Uint8Array.from({ length: 25 }, (_, i) => i + 1),
      of(0xcd, 50),
      "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"
    ],
    [of(0x0c, 20), utf8("Test With Truncation"), "a3b6167473100ee06e0c796c2955552b"],
    [
      of(0xaa, 131),
      utf8("Test Using Larger Than Block-Size Key - Hash Key First"),
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    ],
    [
      of(0xaa, 131),
      utf8(
        "This is a test using a larger than block-size key and a larger than block-size data. " +
          "The key needs to be hashed before being used by the HMAC algorithm."
      ),
      "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"
    ]
  ])("answers the vectors of RFC 4231 (%#)", (secret, data, expected) => {
    assert.strictEqual(hmac(secret, data).slice(0, expected.length), expected)
  })

  it("compares codes", () => {
    const code = "A".repeat(43)
    assert.isTrue(Hmac.equal(code, code))
    assert.isFalse(Hmac.equal(code, "B" + code.slice(1)))
    for (const other of [code.slice(1), `${code}A`]) {
      assert.isFalse(Hmac.equal(code, other))
      assert.isFalse(Hmac.equal(other, code))
    }
    // U+0141 is an A in its lower byte
    assert.isFalse(Hmac.equal(code, code.slice(1) + "\u0141"))
    assert.isFalse(Hmac.equal(code, "\u0141" + code.slice(1)))
  })
})
