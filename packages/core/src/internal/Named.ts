/**
 * The definitions of one capability name by version, so that a range is asked once for each version and not for each definition.
 */
import type { CapabilityRecord } from "../Capability.ts"
import type { Definition } from "./CapabilityIndex.ts"

/** Definitions of one version that are looked through; with more of them, a table leads to each. */
const FEW = 8

/** The definitions of one name in one version. */
export interface Versioned {
  readonly named: Named
  readonly version: string
  readonly definitions: Array<Definition>
  /** By what they say, where they are many. */
  table: Map<string, Definition> | undefined
}

/** What a capability says of itself besides its name and version. */
type Said = {
  readonly [K in "description" | "tags" | "features" | "stream"]?: CapabilityRecord[K] | undefined
}

/** Parts end where a control character stands that the schema of capabilities lets into none of them. */
const keyOf = ({ description, features, stream, tags }: Said): string =>
  `${stream === true ? "s" : ""}${description === undefined ? "" : "d"}\0${tags?.join("\x01") ?? ""}\0${features?.join("\x01") ?? ""}\0${description ?? ""}`

const isSame = (a: ReadonlyArray<string>, b: ReadonlyArray<string> | undefined): boolean => {
  if (b === undefined) return a.length === 0
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** All that is known of one name. */
export class Named {
  readonly name: string
  readonly versions = new Map<string, Versioned>()
  /** How many definitions there are. */
  size = 0
  /** Counts changes of what is offered under the name. */
  revision = 0

  constructor(name: string) {
    this.name = name
  }

  /** The definition that says exactly what a capability says. */
  find(capability: CapabilityRecord): Definition | undefined {
    const versioned = this.versions.get(capability.version)
    if (versioned === undefined) return undefined
    if (versioned.table !== undefined) return versioned.table.get(keyOf(capability))
    const { description, features, stream, tags } = capability
    return versioned.definitions.find(
      (each) =>
        each.description === description &&
        each.stream === (stream === true) &&
        isSame(each.tags, tags) &&
        isSame(each.features, features)
    )
  }

  add(definition: Definition): void {
    const { version } = definition
    let versioned = this.versions.get(version)
    if (versioned === undefined) {
      versioned = { named: this, version, definitions: [], table: undefined }
      this.versions.set(version, versioned)
    }
    definition.home = versioned
    definition.slot = versioned.definitions.length
    versioned.definitions.push(definition)
    if (versioned.table !== undefined) versioned.table.set(keyOf(definition), definition)
    else if (versioned.definitions.length > FEW) {
      versioned.table = new Map(versioned.definitions.map((each) => [keyOf(each), each]))
    }
    this.size++
  }

  remove(definition: Definition): void {
    const { definitions, table } = definition.home
    table?.delete(keyOf(definition))
    const last = definitions.pop()!
    if (last !== definition) {
      definitions[definition.slot] = last
      last.slot = definition.slot
    }
    if (definitions.length === 0) this.versions.delete(definition.home.version)
    this.size--
  }
}
