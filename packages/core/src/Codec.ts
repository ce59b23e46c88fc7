/**
 * How payloads, results and state become bytes.
 *
 * Every job carries the content type that its producer wrote, so producers
 * change codec one by one: a worker reads whatever it accepts.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as SchemaBinary from "effect/encoding/SchemaBinary"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Bytes from "./internal/bytes.ts"
import * as Exact from "./internal/exact.ts"

/**
 * A schema's way to bytes and back. Nothing throws: what does not fit the
 * schema, and bytes that are no such text at all, fail with `SchemaError`; a
 * transformation that throws dies. For most synchronous schemas the answer is
 * an `Exit`, which costs nothing to run.
 */
export interface Compiled<S extends Schema.Constraint> {
  /** The bytes may be a view of a shared buffer: copy them before you transfer or write to them. */
  readonly encode: (value: S["Type"]) => Effect.Effect<Uint8Array, Schema.SchemaError, S["EncodingServices"]>
  readonly decode: (bytes: Uint8Array) => Effect.Effect<S["Type"], Schema.SchemaError, S["DecodingServices"]>
}

export interface Codec {
  /** Travels with every job and record; workers find the codec by it. */
  readonly contentType: string
  /** May be slow: `compiled` calls it once per schema. */
  readonly compile: <S extends Schema.Constraint>(schema: S) => Compiled<S>
}

/** The codec that producers encode with, and workers their results. JSON unless another is provided. */
export const Codec = Context.Reference<Codec>("@troupe/core/Codec", { defaultValue: () => json })

/** The codecs that workers and waiters decode with, found by content type. */
export const Accepted = Context.Reference<ReadonlyArray<Codec>>("@troupe/core/Codec/Accepted", {
  defaultValue: () => [json, binary]
})

/** Encodes with this codec and accepts it, beside what was accepted before. */
export const layer = (codec: Codec): Layer.Layer<never> =>
  Layer.merge(
    Layer.succeed(Codec, codec),
    Layer.effect(
      Accepted,
      Effect.map(Accepted, (accepted) => [codec, ...accepted.filter((_) => _.contentType !== codec.contentType)])
    )
  )

/**
 * A codec over the JSON value of a schema (`Schema.toCodecJson`), such as
 * MessagePack or CBOR. `decode` may throw: that fails as bytes of another format.
 */
export const make = (options: {
  readonly contentType: string
  readonly encode: (value: Schema.Json) => Uint8Array
  readonly decode: (bytes: Uint8Array) => unknown
}): Codec => ({
  contentType: options.contentType,
  compile: <S extends Schema.Constraint>(schema: S) => {
    const codec = Schema.toCodecJson(schema)
    const toJson = Schema.encodeUnknownEffect(codec)
    const fromJson = Schema.decodeUnknownEffect(codec)
    const isExact = Exact.of(schema.ast)
    return {
      encode: total((value) =>
        isExact?.(value) === true
          // an exact value is its own JSON
          ? Exit.succeed(options.encode(value as Schema.Json))
          : Effect.mapEager(toJson(value), options.encode)
      ),
      decode: total((bytes: Uint8Array) => {
        let value: unknown
        try {
          value = options.decode(bytes)
        } catch {
          return otherFormat(options.contentType, bytes)
        }
        // an exact value is the schema's own
        return isExact?.(value) === true ? Exit.succeed(value as S["Type"]) : fromJson(value)
      })
    }
  }
})

/**
 * JSON in UTF-8, readable anywhere. Dates, bytes, maps, options and errors have
 * a JSON form and survive. Members of a union that share one do not: tag them
 * (of `Date | string`, the text "2026" comes back as a date).
 */
export const json: Codec = make({
  contentType: "application/json",
  encode: (value) => Bytes.encode(JSON.stringify(value)),
  decode: (bytes) => JSON.parse(Bytes.decode(bytes))
})

/**
 * Effect's binary schema codec: about half the size of JSON and compatible with
 * evolving schemas, but unreadable without the schema. Lone surrogates in
 * strings are replaced. Effect does not declare its wire format stable:
 * upgrade producers and workers together.
 */
export const binary: Codec = {
  contentType: "application/vnd.effect.schema-binary",
  compile: (schema) => {
    const codec = SchemaBinary.toCodec(schema)
    return {
      encode: total(Schema.encodeUnknownEffect(codec)),
      decode: total(Schema.decodeUnknownEffect(codec))
    }
  }
}

/** The schema compiled by the codec, once for both. */
export const compiled = <S extends Schema.Constraint>(codec: Codec, schema: S): Compiled<S> => {
  let schemas = cache.get(codec)
  if (schemas === undefined) cache.set(codec, schemas = new WeakMap())
  let entry = schemas.get(schema)
  if (entry === undefined) schemas.set(schema, entry = codec.compile(schema))
  // the entry under a schema is this schema's own
  return entry as Compiled<S>
}

const cache = new WeakMap<Codec, WeakMap<Schema.Constraint, unknown>>()

// schema parsers run when called, not in a fiber: a transformation may throw through them
const total = <A, B, E, R>(run: (input: A) => Effect.Effect<B, E, R>) => (input: A): Effect.Effect<B, E, R> => {
  try {
    return run(input)
  } catch (defect) {
    return Exit.die(defect)
  }
}

// the parser's own message is left out: it may quote the payload
const otherFormat = (contentType: string, bytes: Uint8Array): Exit.Exit<never, Schema.SchemaError> =>
  Exit.fail(
    new Schema.SchemaError(
      new SchemaIssue.InvalidValue({ message: `Expected ${contentType}, got ${bytes.length} bytes of something else` })
    )
  )
