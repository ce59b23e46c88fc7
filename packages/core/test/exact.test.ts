/** What needs neither decoding nor encoding: the answers are those of the schema. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Codec from "../src/Codec.ts"
import * as Exact from "../src/internal/exact.ts"

class Point {
  x = 1
}
const hidden = Object.defineProperty({}, "x", { value: 1, enumerable: false })
const hole: Array<string> = []
hole.length = 1

const values: ReadonlyArray<unknown> = [
  undefined,
  null,
  true,
  false,
  0,
  -0,
  1.5,
  NaN,
  Infinity,
  "",
  "a",
  "NaN",
  "\ud800",
  1n,
  Symbol.iterator,
  () => {},
  new Date(0),
  [],
  ["a"],
  ["a", "b"],
  [1],
  [["a"]],
  [undefined],
  hole,
  Object.assign(["a"], { more: 1 }),
  new (class extends Array<string> {})("a"),
  {},
  { x: 1 },
  { x: NaN },
  { x: "1" },
  { x: undefined },
  { x: 1, y: "a" },
  { y: "a", x: 1 },
  { x: 1, y: undefined },
  { x: 1, z: 1 },
  { x: 1, y: "a", z: 1 },
  { y: "a" },
  { x: 1, [Symbol.iterator]: 1 },
  { x: 1, toJSON: () => "other" },
  JSON.parse("{\"__proto__\":1,\"x\":1}"),
  Object.create({ x: 1 }),
  Object.assign(Object.create({ x: 1 }), { y: "a" }),
  Object.assign(Object.create(null), { x: 1 }),
  hidden,
  Object.assign(Object.create(hidden), { y: "a" }),
  new Point(),
  { list: ["a"], inner: { x: 1 } },
  { inner: { x: 1 }, list: ["a", "b"] },
  { list: ["a", 1], inner: { x: 1 } },
  { list: ["a"], inner: { x: 1, z: 1 } },
  { _tag: "A", a: 1 },
  { _tag: "B", a: 1 },
  { a: 1 },
  { a: 1, b: 2 },
  { a: "1" },
  { a: null },
  { a: "on" }
]

const hasSymbols = (value: unknown) =>
  typeof value === "object" && value !== null && Object.getOwnPropertySymbols(value).length > 0

const A = Schema.Struct({ a: Schema.Number })
const AB = Schema.Struct({ a: Schema.Number, b: Schema.Number })
const X = Schema.Struct({ x: Schema.Number, y: Schema.optionalKey(Schema.String) })

/** Whether exact values are known of them. */
const schemas: Readonly<Record<string, readonly [Schema.Codec<unknown, unknown>, boolean]>> = {
  string: [Schema.String, true],
  number: [Schema.Number, true],
  boolean: [Schema.Boolean, true],
  null: [Schema.Null, true],
  literal: [Schema.Literal("a"), true],
  literals: [Schema.Literals(["a", 1.5, true]), true],
  "a bigint literal": [Schema.Literal(1n), false],
  list: [Schema.Array(Schema.String), true],
  tuple: [Schema.Tuple([Schema.String]), false],
  "a list that is not empty": [Schema.NonEmptyArray(Schema.String), false],
  struct: [X, true],
  "a struct without fields": [Schema.Struct({}), false],
  optional: [Schema.Struct({ x: Schema.optional(Schema.Number) }), false],
  nested: [Schema.Struct({ list: Schema.Array(Schema.String), inner: X }), true],
  tagged: [Schema.TaggedStruct("A", { a: Schema.Number }), true],
  "null or": [Schema.Struct({ a: Schema.NullOr(Schema.Number) }), true],
  "undefined or": [Schema.Struct({ x: Schema.UndefinedOr(Schema.Number) }), false],
  "union of structs": [Schema.Union([A, AB]), false],
  "union of the other order": [Schema.Union([AB, A]), false],
  checked: [Schema.Struct({ x: Schema.Number.check(Schema.isGreaterThan(1)) }), false],
  "checked as a whole": [X.check(Schema.makeFilter(() => false)), false],
  transformed: [Schema.Struct({ a: Schema.NumberFromString }), false],
  renamed: [A.pipe(Schema.encodeKeys({ a: "x" })), false],
  "with a default": [
    Schema.Struct({ x: Schema.Number, y: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("d"))) }),
    false
  ],
  record: [Schema.Record(Schema.String, Schema.Number), false],
  date: [Schema.Date, false],
  class: [Schema.Class<Point>("Point")({ x: Schema.Number }) as never, false],
  unknown: [Schema.Unknown, false],
  void: [Schema.Void, false]
}

describe("exact values", () => {
  for (const [name, [schema, isKnown]] of Object.entries(schemas)) {
    it(`of a schema: ${name}`, () => {
      const isExact = Exact.of(schema.ast)
      assert.strictEqual(isExact !== undefined, isKnown)
      const codec = Schema.toCodecJson(schema)
      const decode = Schema.decodeUnknownExit(codec)
      const encode = Schema.encodeUnknownExit(codec)
      for (const value of values) {
        if (isExact?.(value) !== true) continue
        const [decoded, encoded] = [decode(value), encode(value)]
        assert.isTrue(Exit.isSuccess(decoded) && Exit.isSuccess(encoded))
        if (!Exit.isSuccess(decoded) || !Exit.isSuccess(encoded)) continue
        // no JSON brings a symbol
        if (!hasSymbols(value)) assert.deepStrictEqual(decoded.value, value)
        assert.deepStrictEqual(JSON.parse(JSON.stringify(encoded.value)), JSON.parse(JSON.stringify(value)))
      }
    })
  }

  it("are those of most payloads", () => {
    const isExact = Exact.of(Schema.Struct({ list: Schema.Array(Schema.String), inner: X }).ast)!
    assert.isTrue(isExact({ list: ["a"], inner: { x: 1, y: "b" } }))
    assert.isTrue(isExact({ inner: { y: "b", x: 1 }, list: [] }))
    assert.isFalse(isExact({ list: ["a"], inner: { x: NaN } }))
    assert.isFalse(isExact({ list: ["a"], inner: { x: 1 }, more: 1 }))
  })

  it("lose what the schema does not know, as all others do", () => {
    const compiled = Codec.compiled(Codec.json, X)
    const bytes = compiled.encode({ x: 1, z: 1 } as never)
    assert.isTrue(Exit.isExit(bytes) && Exit.isSuccess(bytes))
    if (!Exit.isExit(bytes) || !Exit.isSuccess(bytes)) return
    assert.strictEqual(new TextDecoder().decode(bytes.value as Uint8Array), "{\"x\":1}")
    const back = compiled.decode(new TextEncoder().encode("{\"x\":1,\"z\":1}"))
    assert.deepStrictEqual(back as unknown, Exit.succeed({ x: 1 }))
  })
})
