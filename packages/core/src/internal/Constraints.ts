/**
 * Whether metadata satisfies a query's constraints.
 */
import type { CapabilityRecord, MetadataValue } from "../Capability.ts"
import type { Constraint } from "../Query.ts"

type Scalar = Exclude<MetadataValue, ReadonlyArray<unknown>>

const some = (value: MetadataValue, test: (scalar: Scalar) => boolean): boolean =>
  typeof value === "object" ? value.some(test) : test(value)

const atLeast = (a: Scalar, b: Scalar): boolean => typeof a === typeof b && typeof a !== "boolean" && a >= b

/** `ne` and `exists: false` hold for a key that is absent; nothing else does. */
const holds = (value: MetadataValue | undefined, constraint: Constraint): boolean => {
  const { eq, exists, gte, in: among, lte, ne } = constraint
  if (exists !== undefined && exists !== (value !== undefined)) return false
  if (value === undefined) return eq === undefined && among === undefined && gte === undefined && lte === undefined
  if (eq !== undefined && (typeof value === "object" ? !value.includes(eq) : value !== eq)) return false
  if (ne !== undefined && (typeof value === "object" ? value.includes(ne) : value === ne)) return false
  if (among !== undefined && !some(value, (scalar) => among.includes(scalar))) return false
  if (gte !== undefined && !some(value, (scalar) => atLeast(scalar, gte))) return false
  return lte === undefined || some(value, (scalar) => atLeast(lte, scalar))
}

/** Whether every constraint holds. */
export const satisfies = (
  metadata: CapabilityRecord["metadata"],
  constraints: ReadonlyArray<readonly [key: string, constraint: Constraint]>
): boolean => {
  for (let i = 0; i < constraints.length; i++) {
    const [key, constraint] = constraints[i]!
    // Own keys only: `constructor` is not metadata.
    const value = metadata !== undefined && Object.hasOwn(metadata, key) ? metadata[key] : undefined
    if (!holds(value, constraint)) return false
  }
  return true
}
