/**
 * Packets that a network namespace sends, counted by its kernel (nftables) from now on: those to loopback, to hosts of private ranges and
 * to multicast that no router passes on, and all others. Whatever a program does, and however it does it, is counted here.
 */
import { execFileSync } from "node:child_process"
import { exec, type Namespace } from "./Namespace.ts"

/** What was sent. */
export interface Counted {
  /** Packets to loopback, private ranges and link-local multicast. */
  readonly inside: number
  /** Packets to anywhere else. */
  readonly outside: number
  /** Bytes of these. */
  readonly outsideBytes: number
}

const TABLE = "parley_counters"

// ICMP of the kernel's own (neighbours, routers, group membership) is counted too: a program's groups cause it.
const ruleset = `table inet ${TABLE} {
  counter inside {}
  counter outside {}
  chain out {
    type filter hook output priority 0; policy accept;
    ip daddr { 127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, 224.0.0.0/24 } counter name inside return
    ip6 daddr { ::1, fe80::/10, fc00::/7, ff01::/16, ff02::/16 } counter name inside return
    counter name outside
  }
}
`

/** Starts to count. */
export const install = (at: Namespace): void => void exec(at, ["nft", "-f", "-"], ruleset)

/** What was sent since `install`. */
export const read = (at: Namespace): Counted => {
  const { nftables } = JSON.parse(exec(at, ["nft", "-j", "list", "counters", "table", "inet", TABLE])) as {
    readonly nftables: ReadonlyArray<{
      readonly counter?: { readonly name: string; readonly packets: number; readonly bytes: number }
    }>
  }
  const of = (name: string) => nftables.find(({ counter }) => counter?.name === name)?.counter
  const [inside, outside] = [of("inside"), of("outside")]
  if (inside === undefined || outside === undefined) throw new Error(`no counters in ${at.name}`)
  return { inside: inside.packets, outside: outside.packets, outsideBytes: outside.bytes }
}

/** Why packets cannot be counted here; undefined when they can. */
export const unavailable = ((): string | undefined => {
  try {
    execFileSync("nft", ["--version"], { stdio: "pipe" })
    return undefined
  } catch {
    return "nft is not installed"
  }
})()
