/**
 * Names that look like another, for error messages: "did you mean".
 */
import type { NodeId } from "../NodeId.ts"
import { parseId } from "../Capability.ts"
import type { CapabilityIndex } from "./CapabilityIndex.ts"
import type { Named } from "./Named.ts"
import * as VersionRange from "./VersionRange.ts"

/** Most distinct names compared, so that a full index does not delay an error message by more than some milliseconds. */
export const MAX_NAMES = 10_000
/** Most offers looked at to say who has a name. */
const MAX_OFFERS = 1_000

/** Edits that turn one word into another (insert, delete, replace, swap of neighbours), or more than `most`. */
export const distance = (a: string, b: string, most: number): number => {
  if (Math.abs(a.length - b.length) > most) return most + 1
  let before: Array<number> = []
  let last = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    let least = i
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let edits = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) edits = Math.min(edits, before[j - 2]! + 1)
      row.push(edits)
      if (edits < least) least = edits
    }
    if (least > most) return most + 1
    before = last
    last = row
  }
  return last[b.length]!
}

/** The newest version that somebody offers, and of those who do the one with the lowest NodeId. */
const offerOf = ({ versions }: Named): { readonly version: string; readonly node: NodeId } | undefined => {
  let best: { readonly version: string; readonly node: NodeId } | undefined
  let seen = 0
  for (const { definitions, version } of versions.values()) {
    if (best !== undefined && VersionRange.newerFirst(version, best.version) > 0) continue
    for (const { offers } of definitions) {
      for (const { node } of offers) {
        if (++seen > MAX_OFFERS) return best
        if (best === undefined || best.version !== version || node < best.node) best = { version, node }
      }
    }
  }
  return best
}

/** Names at most a third of their letters away (at least two), nearest first, then by code unit. */
export const closest = (
  index: CapabilityIndex,
  wanted: string,
  limit: number
): ReadonlyArray<{ readonly id: string; readonly node: NodeId }> => {
  const name = parseId(wanted).name.replace(/\*$/, "")
  const most = Math.max(2, Math.floor(name.length / 3))
  const near: Array<{ readonly name: string; readonly named: Named; readonly edits: number }> = []
  let seen = 0
  for (const [other, named] of index.names) {
    if (++seen > MAX_NAMES) break
    const edits = distance(name, other, most)
    if (edits <= most) near.push({ name: other, named, edits })
  }
  near.sort((a, b) => a.edits - b.edits || (a.name < b.name ? -1 : 1))
  return near.slice(0, Math.max(0, limit)).flatMap(({ name, named }) => {
    const offer = offerOf(named)
    return offer === undefined ? [] : [{ id: `${name}@${offer.version}`, node: offer.node }]
  })
}
