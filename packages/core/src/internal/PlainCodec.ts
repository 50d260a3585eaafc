/**
 * Values that are their own JSON: strings, finite numbers, booleans, nulls, literals, and structs and arrays of these. They are
 * copied without an object in between. Whatever a copier does not take may still fit: that is for effect's codec to say.
 */
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"

/** Not taken. */
export const doubt: unique symbol = Symbol("doubt")

/** Copies a value as both encoding and decoding it would, without what the schema does not name; or `doubt`. */
export type Copy = (value: unknown) => unknown

const finite = Schema.Finite.ast.checks?.[0]

const isFinite = ({ checks }: SchemaAST.AST): boolean => checks?.length === 1 && checks[0] === finite

const leaf =
  (fits: (value: unknown) => boolean): Copy =>
  (value) =>
    fits(value) ? value : doubt

/** The copier of a schema's JSON codec, where all of it is plain: the same for both directions. */
export const of = (ast: SchemaAST.AST): Copy | undefined => {
  if (ast.encoding !== undefined || ast.context?.constructorDefault !== undefined) return undefined
  if (ast._tag === "Number") return isFinite(ast) ? leaf(Number.isFinite) : undefined
  if (ast.checks !== undefined) return undefined
  switch (ast._tag) {
    case "String":
      return leaf((value) => typeof value === "string")
    case "Boolean":
      return leaf((value) => typeof value === "boolean")
    case "Null":
      return leaf((value) => value === null)
    case "Literal": {
      const { literal } = ast
      return typeof literal === "bigint" ? undefined : leaf((value) => value === literal)
    }
    case "Union":
      return union(ast)
    case "Arrays":
      return array(ast)
    case "Objects":
      return struct(ast)
    default:
      return undefined
  }
}

const isLeaf = ({ _tag }: SchemaAST.AST): boolean => _tag !== "Union" && _tag !== "Arrays" && _tag !== "Objects"

/** One of several leaves. */
const union = (ast: SchemaAST.Union): Copy | undefined => {
  if (ast.options !== undefined || ast.encodingChecks !== undefined || !ast.types.every(isLeaf)) return undefined
  const copies = ast.types.map(of)
  if (!copies.every((copy) => copy !== undefined)) return undefined
  return (value) => {
    for (const copy of copies) if (copy(value) !== doubt) return value
    return doubt
  }
}

const array = (ast: SchemaAST.Arrays): Copy | undefined => {
  const [rest] = ast.rest
  if (ast.encodingChecks !== undefined || ast.elements.length > 0 || ast.rest.length !== 1) return undefined
  const copy = of(rest!)
  if (copy === undefined) return undefined
  return (value) => {
    if (!Array.isArray(value)) return doubt
    const copied: Array<unknown> = []
    for (let i = 0; i < value.length; i++) {
      const each = copy(value[i])
      if (each === doubt) return doubt
      copied.push(each)
    }
    return copied
  }
}

interface Field {
  readonly name: string
  readonly copy: Copy
  readonly isOptional: boolean
}

const struct = (ast: SchemaAST.Objects): Copy | undefined => {
  if (ast.encodingChecks !== undefined || ast.indexSignatures.length > 0) return undefined
  const fields: Array<Field> = []
  for (const { name, type } of ast.propertySignatures) {
    const copy = of(type)
    if (copy === undefined || typeof name !== "string" || name === "__proto__") return undefined
    fields.push({ name, copy, isOptional: type.context?.isOptional ?? false })
  }
  // A struct without fields takes more than objects.
  if (fields.length === 0) return undefined
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return doubt
    const copied: Record<string, unknown> = {}
    for (let i = 0; i < fields.length; i++) {
      const { copy, isOptional, name } = fields[i]!
      if (!Object.hasOwn(value, name)) {
        if (!isOptional || name in value) return doubt
        continue
      }
      const each = copy((value as Record<string, unknown>)[name])
      if (each === doubt) return doubt
      copied[name] = each
    }
    return copied
  }
}
