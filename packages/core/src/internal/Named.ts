/**
 * The definitions of one capability name by version, so that a range is asked once for each version and not for each definition.
 */
import type { Definition } from "./CapabilityIndex.ts"

/** The definitions of one name in one version. */
export interface Versioned {
  readonly named: Named
  readonly version: string
  readonly definitions: Array<Definition>
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

  add(definition: Definition): void {
    const { version } = definition
    let versioned = this.versions.get(version)
    if (versioned === undefined) {
      versioned = { named: this, version, definitions: [] }
      this.versions.set(version, versioned)
    }
    definition.home = versioned
    definition.slot = versioned.definitions.length
    versioned.definitions.push(definition)
    this.size++
  }

  remove(definition: Definition): void {
    const { definitions } = definition.home
    const last = definitions.pop()!
    if (last !== definition) {
      definitions[definition.slot] = last
      last.slot = definition.slot
    }
    if (definitions.length === 0) this.versions.delete(definition.home.version)
    this.size--
  }
}
