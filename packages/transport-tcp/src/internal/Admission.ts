/**
 * Admission: which strangers' sockets are let in, in all and by network address.
 *
 * Where all places are taken, the address that has most of them gives one up to an address that has fewer: who comes with many
 * sockets stands in nobody's way but its own. The IPv6 addresses of one site are counted together there, since it has 65,536 networks.
 */
import type { AcceptLimits } from "../Limits.ts"
import * as Addresses from "./Addresses.ts"

/** Addresses remembered; beyond it those with no socket are forgotten. */
const MAX_PLACES = 16_384

/** A socket that was let in. */
export interface Guest {
  /** Its handshake has ended, however. */
  readonly proven: () => void
  /** Its socket has closed. */
  readonly left: () => void
}

/** The limit that a socket would pass. */
export type Refused = readonly [limit: string, value: number]

interface Held {
  readonly evict: () => void
}

/** Places of one site, which are counted together where all are taken. */
interface Site {
  readonly key: string
  places: number
  accepted: number
  pending: number
}

class Place {
  readonly site: Site
  /** In the order in which they came. */
  readonly accepted = new Set<Held>()
  readonly pending = new Set<Held>()
  tokens: number
  at: number

  constructor(site: Site, tokens: number, now: number) {
    this.site = site
    this.tokens = tokens
    this.at = now
  }

  take(now: number, { handshakesAtOnce, handshakesPerSecond }: AcceptLimits): boolean {
    this.tokens = Math.min(handshakesAtOnce, this.tokens + ((now - this.at) * handshakesPerSecond) / 1000)
    this.at = now
    if (this.tokens < 1) return false
    this.tokens -= 1
    return true
  }
}

export class Admission {
  readonly #limits: AcceptLimits
  readonly #givesUpItsOwn: boolean
  readonly #places = new Map<string, Place>()
  readonly #sites = new Map<string, Site>()
  #accepted = 0
  #pending = 0

  /** `givesUpItsOwn`: who has most of the handshakes gives up its oldest for its own newcomer, too, instead of being refused. */
  constructor(limits: AcceptLimits, givesUpItsOwn = false) {
    this.#limits = limits
    this.#givesUpItsOwn = givesUpItsOwn
  }

  /** Lets a socket in, or says which limit it would pass. `evict` closes it, when its place goes to somebody else. */
  admit(host: string, now: number, evict: () => void): Guest | Refused {
    const limits = this.#limits
    const place = this.#place(host, now)
    if (place.accepted.size >= limits.maxConnectionsPerAddress) {
      return ["maxConnectionsPerAddress", limits.maxConnectionsPerAddress]
    }
    if (place.pending.size >= limits.maxPendingPerAddress) return ["maxPendingPerAddress", limits.maxPendingPerAddress]
    if (!place.take(now, limits)) return ["handshakesPerSecond", limits.handshakesPerSecond]
    // The oldest handshake is the one that waits in vain; of connections that stand, the newest is the least missed.
    if (this.#accepted >= limits.maxConnections && !this.#makeRoom(place, "accepted", (held) => [...held].at(-1))) {
      return ["maxConnections", limits.maxConnections]
    }
    if (this.#pending >= limits.maxPendingHandshakes && !this.#makeRoom(place, "pending", ([oldest]) => oldest)) {
      return ["maxPendingHandshakes", limits.maxPendingHandshakes]
    }
    const proven = (): void => {
      if (!place.pending.delete(held)) return
      place.site.pending--
      this.#pending--
    }
    const left = (): void => {
      proven()
      if (!place.accepted.delete(held)) return
      place.site.accepted--
      this.#accepted--
    }
    const held: Held = {
      evict: () => {
        left()
        evict()
      }
    }
    place.accepted.add(held)
    place.pending.add(held)
    place.site.accepted++
    place.site.pending++
    this.#accepted++
    this.#pending++
    return { proven, left }
  }

  /** Takes a place from the site that has most of them, if that has at least two more than the newcomer's; or within that site alike. */
  #makeRoom(
    newcomer: Place,
    of: "accepted" | "pending",
    choose: (held: ReadonlySet<Held>) => Held | undefined
  ): boolean {
    let most = newcomer
    for (const place of this.#places.values()) {
      const isOfMost = place.site === most.site && place[of].size > most[of].size
      if (isOfMost || place.site[of] > most.site[of]) most = place
    }
    const isOwn = this.#givesUpItsOwn && of === "pending" && most === newcomer
    const [more, fewer] =
      most.site === newcomer.site ? [most[of].size, newcomer[of].size] : [most.site[of], newcomer.site[of]]
    if (!isOwn && more < fewer + 2) return false
    choose(most[of])?.evict()
    return true
  }

  #place(host: string, now: number): Place {
    const key = Addresses.network(host)
    const known = this.#places.get(key)
    if (known !== undefined) return known
    if (this.#places.size >= MAX_PLACES) {
      for (const [each, place] of this.#places) if (place.accepted.size === 0) this.#forget(each, place.site)
    }
    const place = new Place(this.#site(Addresses.site(host)), this.#limits.handshakesAtOnce, now)
    this.#places.set(key, place)
    return place
  }

  #site(key: string): Site {
    const site = this.#sites.get(key) ?? { key, places: 0, accepted: 0, pending: 0 }
    site.places++
    this.#sites.set(key, site)
    return site
  }

  #forget(key: string, site: Site): void {
    this.#places.delete(key)
    if (--site.places === 0) this.#sites.delete(site.key)
  }
}
