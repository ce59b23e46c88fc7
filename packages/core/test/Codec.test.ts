import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Codec from "../src/Codec.ts"

class Address extends Schema.Class<Address>("Address")({ street: Schema.String, since: Schema.Date }) {}

class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { sku: Schema.String, left: Schema.BigInt }) {}

interface Tree {
  readonly value: number
  readonly children: ReadonlyArray<Tree>
}

const Tree: Schema.Codec<Tree> = Schema.Struct({
  value: Schema.Number,
  children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
})

const sample = <S extends Schema.Top>(name: string, schema: S, ...values: ReadonlyArray<S["Type"]>) => ({
  name,
  schema: schema as unknown as Schema.Codec<unknown, unknown>,
  values: values as ReadonlyArray<unknown>
})

const samples = [
  sample("Struct", Schema.Struct({ to: Schema.String, n: Schema.Number }), { to: "ü\0😀", n: -1.5 }),
  sample("Number", Schema.Number, 0, 1e308, NaN, Infinity, -Infinity),
  sample("String", Schema.String, "", "x".repeat(100_000)),
  sample("Boolean and null", Schema.NullOr(Schema.Boolean), true, null),
  sample("Void", Schema.Void, undefined),
  sample("Undefined", Schema.UndefinedOr(Schema.String), undefined, "a"),
  sample("optional keys", Schema.Struct({ a: Schema.optionalKey(Schema.String) }), {}, { a: "" }),
  sample("Date", Schema.Date, new Date(0), new Date("2026-01-01T00:00:00.123Z")),
  sample("DateTime", Schema.DateTimeUtc, DateTime.makeUnsafe("2026-01-01T00:00:00.123Z")),
  sample("Duration", Schema.Duration, Duration.seconds(1.5), Duration.infinity, Duration.nanos(1n)),
  sample("Uint8Array", Schema.Uint8Array, new Uint8Array(0), Uint8Array.of(0, 255, 13, 10)),
  sample("BigInt", Schema.BigInt, 0n, -(2n ** 200n)),
  sample("BigDecimal", Schema.BigDecimal, BigDecimal.fromStringUnsafe("12.340")),
  sample("Map", Schema.ReadonlyMap(Schema.Date, Schema.BigInt), new Map([[new Date(1), 1n]]), new Map()),
  sample("Set", Schema.ReadonlySet(Schema.String), new Set(["a", "b"]), new Set()),
  sample("Option", Schema.Option(Schema.Date), Option.none(), Option.some(new Date(7))),
  sample("Result", Schema.Result(Schema.Date, Schema.String), Result.succeed(new Date(7)), Result.fail("no")),
  sample("tuples", Schema.Tuple([Schema.String, Schema.Option(Schema.Void)]), ["a", Option.some(undefined)]),
  sample("unions", Schema.Union([Schema.Date, Schema.String]), new Date(1), "a"),
  sample("Record", Schema.Record(Schema.String, Schema.BigInt), Object.fromEntries([["__proto__", 1n], ["", 2n]])),
  sample("Class", Address, new Address({ street: "Main", since: new Date(5) })),
  sample("TaggedError", OutOfStock, new OutOfStock({ sku: "a", left: 0n })),
  sample("Redacted", Schema.Redacted(Schema.String), Redacted.make("shown")),
  sample("Json", Schema.Json, { a: [1, null, "b", {}] }),
  sample("recursion", Tree, { value: 1, children: [{ value: 2, children: [] }] }),
  sample(
    "Exit",
    Schema.Exit(Schema.Date, OutOfStock, Schema.Defect()),
    Exit.succeed(new Date(1)),
    Exit.fail(new OutOfStock({ sku: "a", left: 1n }))
  )
]

const Everything = Schema.Struct({
  text: Schema.String.check(Schema.makeFilter((text) => text.isWellFormed())),
  date: Schema.Date,
  bytes: Schema.Uint8Array,
  big: Schema.BigInt,
  option: Schema.Option(Schema.Struct({ set: Schema.ReadonlySet(Schema.Int), none: Schema.Null })),
  // JSON makes -0 positive
  map: Schema.ReadonlyMap(Schema.Date, Schema.Array(Schema.Finite.check(Schema.makeFilter((n) => !Object.is(n, -0))))),
  optional: Schema.optionalKey(Schema.Union([Schema.Boolean, Schema.Date]))
})

const failure = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Cause.squash(exit.cause) : assert.fail("succeeded")

class Rate extends Context.Service<Rate, { readonly factor: number }>()("test/Rate") {}

/** A schema that needs a service and time. */
const Rated = Schema.String.pipe(Schema.decodeTo(Schema.Number, {
  decode: SchemaGetter.transformEffect((text: string) =>
    Effect.gen(function*() {
      yield* Effect.promise(() => Promise.resolve())
      return Number(text) * (yield* Rate).factor
    })
  ),
  encode: SchemaGetter.transformEffect((value: number) =>
    Effect.gen(function*() {
      yield* Effect.promise(() => Promise.resolve())
      return String(value / (yield* Rate).factor)
    })
  )
}))

const Throws = Schema.String.pipe(Schema.decodeTo(Schema.String, {
  decode: SchemaGetter.transform(() => {
    throw new Error("boom")
  }),
  encode: SchemaGetter.transform(() => {
    throw new Error("boom")
  })
}))

describe.each([Codec.json, Codec.binary])("$contentType", (codec) => {
  it.each(samples)("keeps $name", ({ schema, values }) => {
    const compiled = Codec.compiled(codec, schema)
    for (const value of values) {
      const bytes = Effect.runSync(compiled.encode(value))
      assert.instanceOf(bytes, Uint8Array)
      const copy = Effect.runSync(compiled.decode(bytes))
      if (!Equal.equals(copy, value)) assert.deepStrictEqual(copy, value)
    }
  })

  it.prop("keeps any value", [Everything], ([value]) => {
    const compiled = Codec.compiled(codec, Everything)
    assert.deepEqual(Effect.runSync(compiled.decode(Effect.runSync(compiled.encode(value)))), value)
  })

  it("answers at once for a usual payload", () => {
    const compiled = Codec.compiled(
      codec,
      Schema.Struct({ to: Schema.String, at: Schema.Date, bytes: Schema.Uint8Array })
    )
    const encoded = compiled.encode({ to: "a", at: new Date(1), bytes: new Uint8Array(2) })
    assert.isTrue(Exit.isExit(encoded))
    assert.isTrue(Exit.isExit(compiled.decode(Effect.runSync(encoded))))
  })

  it("restores classes", () => {
    const compiled = Codec.compiled(codec, Address)
    const bytes = Effect.runSync(compiled.encode(new Address({ street: "Main", since: new Date(5) })))
    assert.instanceOf(Effect.runSync(compiled.decode(bytes)), Address)
  })

  it("refuses to encode what does not fit", () => {
    const { encode } = Codec.compiled(codec, Schema.Struct({ n: Schema.Int }))
    const error = failure(Effect.runSyncExit(encode({ n: 0.5 })))
    assert.instanceOf(error, Schema.SchemaError)
    assert.include(String(error), "Expected an integer")
  })

  it("fails for redacted values that must not be encoded", () => {
    const { encode } = Codec.compiled(codec, Schema.Redacted(Schema.String, { disallowJsonEncode: true }))
    const error = failure(Effect.runSyncExit(encode(Redacted.make("hunter2"))))
    assert.instanceOf(error, Schema.SchemaError)
    assert.notInclude(String(error), "hunter2")
  })

  it("fails on foreign bytes, without quoting them", () => {
    const { decode } = Codec.compiled(codec, Everything)
    for (
      const bytes of [
        new Uint8Array(0),
        new TextEncoder().encode("hunter2"),
        Uint8Array.of(0xff, 0xfe, 0),
        Uint8Array.of(34)
      ]
    ) {
      const error = failure(Effect.runSyncExit(decode(bytes)))
      assert.instanceOf(error, Schema.SchemaError)
      assert.notInclude(String(error), "hunter2")
    }
  })

  it("fails on truncated bytes", () => {
    const compiled = Codec.compiled(codec, Schema.Struct({ to: Schema.String, n: Schema.Number }))
    const bytes = Effect.runSync(compiled.encode({ to: "a@b.c", n: 4 }))
    for (let end = 0; end < bytes.length; end++) {
      assert.instanceOf(failure(Effect.runSyncExit(compiled.decode(bytes.subarray(0, end)))), Schema.SchemaError)
    }
  })

  it("does not overwrite what it encoded before", () => {
    const { encode } = Codec.compiled(codec, Schema.String)
    const first = Effect.runSync(encode("first"))
    const copy = first.slice()
    for (let i = 0; i < 1_000; i++) Effect.runSync(encode(`later ${i}`))
    assert.deepStrictEqual(first, copy)
  })

  it("dies instead of throwing when a transformation throws", () => {
    const { decode, encode } = Codec.compiled(codec, Throws)
    const text = Effect.runSync(Codec.compiled(codec, Schema.String).encode("a"))
    const exits: ReadonlyArray<Exit.Exit<unknown, unknown>> = [
      Effect.runSyncExit(encode("a")),
      Effect.runSyncExit(decode(text))
    ]
    for (const exit of exits) {
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.include(String(failure(exit)), "boom")
    }
  })

  it.effect("runs schemas that need time and services", () =>
    Effect.gen(function*() {
      const compiled = Codec.compiled(codec, Rated)
      const bytes = yield* compiled.encode(21)
      assert.strictEqual(yield* compiled.decode(bytes), 21)
    }).pipe(Effect.provideService(Rate, { factor: 3 })))
})

describe("json", () => {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

  it("writes plain JSON that others can read", () => {
    const { encode } = Codec.compiled(Codec.json, Schema.Struct({ to: Schema.String, at: Schema.Date }))
    const bytes = Effect.runSync(encode({ to: "ü", at: new Date(0) }))
    assert.strictEqual(text(bytes), "{\"to\":\"ü\",\"at\":\"1970-01-01T00:00:00.000Z\"}")
    assert.strictEqual(text(Effect.runSync(Codec.compiled(Codec.json, Schema.Void).encode(undefined))), "null")
  })

  it("reads JSON that others wrote: spaces, unknown fields, a byte order mark", () => {
    const { decode } = Codec.compiled(Codec.json, Schema.Struct({ to: Schema.String }))
    const bytes = new TextEncoder().encode("\ufeff{ \"more\": [1], \"to\": \"a\" }\n")
    assert.deepStrictEqual(Effect.runSync(decode(bytes)), { to: "a" })
  })

  it("cannot tell members of a union apart that share a JSON form", () => {
    const { decode, encode } = Codec.compiled(Codec.json, Schema.Union([Schema.Date, Schema.String]))
    assert.instanceOf(Effect.runSync(decode(Effect.runSync(encode("2026")))), Date)
  })

  it("says what it expected", () => {
    const { decode } = Codec.compiled(Codec.json, Schema.Struct({ to: Schema.String }))
    const message = (input: string) => String(failure(Effect.runSyncExit(decode(new TextEncoder().encode(input)))))
    assert.include(message("nope"), "Expected application/json, got 4 bytes of something else")
    assert.include(message("{\"to\":1}"), "Expected string")
  })
})

describe("compiled", () => {
  it("compiles once per codec and schema", () => {
    let count = 0
    const counting: Codec.Codec = {
      contentType: "test/counting",
      compile: (schema) => {
        count++
        return Codec.json.compile(schema)
      }
    }
    assert.strictEqual(Codec.compiled(counting, Tree), Codec.compiled(counting, Tree))
    assert.strictEqual(count, 1)
    assert.notStrictEqual<unknown>(Codec.compiled(counting, Tree), Codec.compiled(Codec.json, Tree))
    assert.notStrictEqual<unknown>(Codec.compiled(counting, Tree), Codec.compiled(counting, Address))
  })
})

describe("a codec of one's own", () => {
  const reversed = Codec.make({
    contentType: "test/reversed",
    encode: (value) => new TextEncoder().encode(JSON.stringify(value)).reverse(),
    decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes.slice().reverse()))
  })

  it("carries the JSON value of any schema", () => {
    const compiled = Codec.compiled(reversed, Address)
    const address = new Address({ street: "Main", since: new Date(5) })
    assert.deepStrictEqual(Effect.runSync(compiled.decode(Effect.runSync(compiled.encode(address)))), address)
    assert.instanceOf(failure(Effect.runSyncExit(compiled.decode(new Uint8Array(3)))), Schema.SchemaError)
  })

  it.effect("is JSON by default, and both of ours are accepted", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* Codec.Codec, Codec.json)
      assert.deepStrictEqual(yield* Codec.Accepted, [Codec.json, Codec.binary])
    }))

  it.effect("is accepted where it is provided, in the place of another of its type", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* Codec.Codec, reversed)
      assert.deepStrictEqual(yield* Codec.Accepted, [reversed, Codec.json, Codec.binary])
      const other: Codec.Codec = { ...Codec.json }
      const accepted = yield* Effect.provide(
        Effect.gen(function*() {
          return yield* Codec.Accepted
        }),
        Codec.layer(other)
      )
      assert.deepStrictEqual(accepted, [other, reversed, Codec.binary])
    }).pipe(Effect.provide(Codec.layer(reversed))))
})
