/**
 * Schemas whose constructor changes nothing: for these, encoding alone tells
 * what fits, at half the cost of making and encoding.
 */
import type * as SchemaAST from "effect/SchemaAST"

/** True for structs and lists of texts, numbers and booleans, checks included, without defaults and transformations. */
export const isPlain = (ast: SchemaAST.AST): boolean => {
  if (ast.encoding !== undefined || ast.context?.constructorDefault !== undefined) return false
  switch (ast._tag) {
    case "String":
    case "Number":
    case "Boolean":
    case "Null":
    case "Literal":
      return true
    case "Objects":
      return ast.indexSignatures.length === 0 && ast.propertySignatures.every(({ type }) => isPlain(type))
    case "Arrays":
      return ast.elements.every(isPlain) && ast.rest.every(isPlain)
    default:
      return false
  }
}
