/**
 * Values that are their own JSON: of schemas of texts, numbers, booleans, lists
 * and structs. A value that fits such a schema exactly needs neither decoding
 * nor encoding; telling so costs a tenth of it.
 */
import type * as SchemaAST from "effect/SchemaAST"

/** True if the schema, both ways, answers an equal value. What it does not know is for the schema to judge. */
export type IsExact = (value: unknown) => boolean

const primitive = (ast: SchemaAST.AST): IsExact | undefined => {
  switch (ast._tag) {
    case "String":
      return (value) => typeof value === "string"
    case "Number":
      // others have no number in JSON
      return Number.isFinite
    case "Boolean":
      return (value) => typeof value === "boolean"
    case "Null":
      return (value) => value === null
    case "Literal": {
      const { literal } = ast
      return typeof literal === "bigint" ? undefined : (value) => value === literal
    }
    default:
      return undefined
  }
}

const isDefined = <A>(value: A | undefined): value is A => value !== undefined

const list = ({ elements, rest }: SchemaAST.Arrays): IsExact | undefined => {
  const [only, ...more] = rest
  const isItem = only === undefined || more.length > 0 || elements.length > 0 ? undefined : of(only)
  return isItem && ((value) => {
    if (!Array.isArray(value) || Object.getPrototypeOf(value) !== Array.prototype) return false
    // by index: a hole is no item
    for (let i = 0; i < value.length; i++) if (!isItem(value[i])) return false
    return true
  })
}

const struct = ({ indexSignatures, propertySignatures }: SchemaAST.Objects): IsExact | undefined => {
  const names: Array<string> = []
  const tests: Array<IsExact> = []
  const optional: Array<boolean> = []
  for (const { name, type } of propertySignatures) {
    const test = of(type)
    if (test === undefined || typeof name !== "string" || name === "__proto__") return undefined
    names.push(name)
    tests.push(test)
    optional.push(type.context?.isOptional === true)
  }
  // without fields a struct is any object, lists included
  if (names.length === 0 || indexSignatures.length > 0) return undefined
  return (value) => {
    if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return false
    // a plain object, any of its fields unknown
    const record = value as Readonly<Record<string, unknown>>
    const keys = Object.keys(record)
    let found = 0
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!
      // in the order of the schema, as a rule
      if (keys[found] === name || Object.hasOwn(record, name)) {
        if (!tests[i]!(record[name])) return false
        found++
      } else if (!optional[i]) return false
    }
    // no more than these, and JSON sees all of them
    return keys.length === found
  }
}

/** Of schemas of which this can be told, without checks and transformations. */
export const of = (ast: SchemaAST.AST): IsExact | undefined => {
  if (ast.encoding !== undefined || ast.checks !== undefined) return undefined
  if ("encodingChecks" in ast && ast.encodingChecks !== undefined) return undefined
  switch (ast._tag) {
    case "Objects":
      return struct(ast)
    case "Arrays":
      return list(ast)
    case "Union": {
      // of structs another one may fit first, without some of the fields
      const tests = ast.types.map((type) =>
        type.encoding === undefined && type.checks === undefined ? primitive(type) : undefined
      )
      return tests.every(isDefined) ? (value) => tests.some((test) => test(value)) : undefined
    }
    default:
      return primitive(ast)
  }
}
