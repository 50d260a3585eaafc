/**
 * Networks of several sites for tests: a public segment, hosts on it, and sites of which each is a router with hosts behind it.
 *
 * ```ts
 * const net = await Nat.build({ publicHosts: 1, sites: [{ nat: "symmetric" }, { nat: "full-cone", hosts: 2 }] })
 * start(net.sites[0]!.hosts[0]!, …)
 * net.close()
 * ```
 *
 * Public addresses are those of documents (RFC 5737, RFC 3849), so that what takes private addresses for its own sees none.
 * Everything is made of namespaces with names of this process; `close`, or the end of the process, removes them with all
 * that runs in them, and what a process that was killed has left behind goes when the next network is built.
 */
import { execFileSync } from "node:child_process"
import { existsSync } from "node:fs"
import { add, exec, type Namespace, unavailable as noNamespaces } from "./Namespace.ts"
import { until } from "./Until.ts"

/**
 * How a router translates (RFC 4787). All but `open` drop what nobody asked for without a word.
 *
 * - `open`: not at all; its hosts have public addresses, and everybody reaches them.
 * - `full-cone`: a host's port is one outer port for all, and whoever knows it gets in.
 * - `address-restricted`: the same outer port for all, and it lets in the addresses that the host has sent to.
 * - `port-restricted`: the same outer port for all, and it lets in the addresses and ports that the host has sent to.
 * - `symmetric`: another outer port at random for each address and port that the host sends to, which alone gets in.
 */
export type Type = "open" | "full-cone" | "address-restricted" | "port-restricted" | "symmetric"

/** Every type, from the easiest to pass to the hardest. */
export const types: ReadonlyArray<Type> = ["open", "full-cone", "address-restricted", "port-restricted", "symmetric"]

/** What a site is. */
export interface SitePlan {
  readonly nat: Type
  /** Hosts behind the router, 1 unless said otherwise; at most 13. */
  readonly hosts?: number
  /** A public IPv6 address for each host, behind a firewall that lets in answers alone; all of it where `nat` is `open`. */
  readonly ipv6?: boolean
  /** The site's router is behind another one of its provider, which translates once more (RFC 6598). Without `open` and IPv6. */
  readonly carrier?: Exclude<Type, "open">
}

/** What a network is. */
export interface Plan {
  /** Hosts right on the public segment, such as trackers; 1 unless said otherwise, at most 8. */
  readonly publicHosts?: number
  /** At most 200. */
  readonly sites: ReadonlyArray<SitePlan>
}

/** A router and what is behind it. */
export interface Site {
  readonly nat: Type
  readonly router: Namespace
  /** Each knows its own address: a private one, but for `open`. */
  readonly hosts: ReadonlyArray<Namespace>
  /** The address that others see: the outermost router's, or of `open` that of the first host. */
  readonly address: string
  /** The hosts' IPv6 addresses, where the plan has them. */
  readonly addresses6: ReadonlyArray<string>
  /** Nothing goes in or out any more, without a word, as when a cable far away is cut. */
  readonly cut: () => void
  /** Undoes `cut`. */
  readonly heal: () => void
}

/** Everything that was built. */
export interface Net {
  readonly publicHosts: ReadonlyArray<Namespace>
  readonly sites: ReadonlyArray<Site>
  /** Ends what runs in it, and removes all of it. Safe to call twice. */
  readonly close: () => void
}

const WAN = "wan0"
const LAN = "lan0"

const ip = (args: ReadonlyArray<string>, input = ""): string =>
  execFileSync("ip", [...args], { stdio: "pipe", encoding: "utf8", input })
const inside = ({ name }: Namespace, lines: ReadonlyArray<string>): string =>
  ip(["-n", name, "-batch", "-"], `${lines.join("\n")}\n`)
const rules = (at: Namespace, text: string): string => exec(at, ["nft", "-f", "-"], text)

const probe = (): string | undefined => {
  if (noNamespaces !== undefined) return noNamespaces
  if (!existsSync("/proc/sys/net/ipv6")) return "the networks have IPv6, which this kernel was started without"
  const tried = add("127.0.0.1")
  try {
    rules(
      tried,
      "table ip t { chain c { type nat hook postrouting priority 100; masquerade random,fully-random; }\n}\n"
    )
    ip(["-n", tried.name, "link", "add", LAN, "type", "bridge"])
    ip(["-n", tried.name, "link", "add", WAN, "type", "veth", "peer", "name", "wan1"])
    return undefined
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split("\n").slice(0, 2).join(": ") : String(cause)
    return `no network address translation here (Debian's nftables and iproute2 give it): ${why}`
  } finally {
    tried.remove()
  }
}

let probed: { readonly reason: string | undefined } | undefined
/** Why no such network can be built here; undefined when it can. */
export const unavailable = (): string | undefined => (probed ??= { reason: probe() }).reason

/** Ports of hosts keep their number outside as long as no other host of the site has the same one open. */
const mapping = (protocol: "tcp" | "udp", restricted: boolean): string => `
  map ${protocol}_host { type inet_service : ipv4_addr; flags dynamic,timeout; timeout 10m; size 65535; }
  set ${protocol}_asked { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 10m; size 65535; }
  chain ${protocol}_out {
    update @${protocol}_host { ${protocol} sport : ip saddr }
    update @${protocol}_asked { ip daddr . ${protocol} sport }
  }
  chain ${protocol}_in {
    ${restricted ? `ip saddr . ${protocol} dport @${protocol}_asked ` : ""}dnat to ${protocol} dport map @${protocol}_host
  }`

const translation = (nat: Type): string => {
  switch (nat) {
    case "open":
      return ""
    case "symmetric":
    case "port-restricted":
      return `table ip nat {
  chain out { type nat hook postrouting priority srcnat; oifname ${WAN} masquerade ${nat === "symmetric" ? "random,fully-random" : ""}; }
}`
    case "full-cone":
    case "address-restricted": {
      const restricted = nat === "address-restricted"
      return `table ip nat {${mapping("tcp", restricted)}${mapping("udp", restricted)}
  chain seen {
    type filter hook postrouting priority srcnat - 10;
    oifname ${WAN} meta l4proto tcp jump tcp_out
    oifname ${WAN} meta l4proto udp jump udp_out
  }
  chain in {
    type nat hook prerouting priority dstnat;
    iifname ${WAN} meta l4proto tcp jump tcp_in
    iifname ${WAN} meta l4proto udp jump udp_in
  }
  chain out { type nat hook postrouting priority srcnat; oifname ${WAN} masquerade; }
}`
    }
  }
}

/** What nobody behind the router asked for is dropped, before the kernel would remember or refuse it. */
const firewall = (nat: Type): string =>
  nat === "open"
    ? ""
    : `table inet wall {
  chain in { type filter hook input priority 0; iifname ${WAN} meta l4proto { tcp, udp } ct state { new, invalid } drop; }
  chain through {
    type filter hook forward priority 0;
    ct state invalid drop
    iifname ${WAN} ct state new ct status & dnat != dnat drop
  }
}`

const CUT = `table inet cut {
  chain in { type filter hook prerouting priority -400; iifname ${WAN} drop; }
  chain out { type filter hook postrouting priority 400; oifname ${WAN} drop; }
}`

/** No wait for others with the same IPv6 address, of whom there are none; and routers that route. */
const settings = (isRouter: boolean): string =>
  [
    ...["all", "default"].flatMap((name) => [
      [`net/ipv6/conf/${name}/accept_dad`, 0],
      [`net/ipv4/conf/${name}/send_redirects`, 0]
    ]),
    ...(isRouter ? ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"].map((name) => [name, 1]) : [])
  ]
    .map(([name, value]) => `echo ${value} > /proc/sys/${name}`)
    .join(" && ")

/** Namespaces of processes that are no more, and what still runs in them. */
const sweep = (): void => {
  for (const line of ip(["netns", "list"]).split("\n")) {
    const name = line.split(" ")[0]!
    const owner = /^parley-(\d+)-\d+$/.exec(name)?.[1]
    if (owner === undefined) continue
    try {
      process.kill(Number(owner), 0)
    } catch (cause) {
      if (cause instanceof Error && (cause as NodeJS.ErrnoException).code === "ESRCH") remove(name)
    }
  }
}

/** Ends the programs in a namespace and removes it. */
const remove = (name: string): void => {
  try {
    for (const id of ip(["netns", "pids", name]).split("\n")) if (id !== "") process.kill(Number(id), "SIGKILL")
  } catch {
    // They have ended, or it is gone.
  }
  try {
    ip(["netns", "del", name])
  } catch {
    // It is gone.
  }
}

/** The kernel calls a cable ready up to a second after it is up; until then runtimes do not list it. */
const settled = async (spaces: ReadonlyArray<Namespace>): Promise<void> => {
  let waiting = [...spaces]
  await until("all links are up", () => {
    waiting = waiting.filter(({ name }) => {
      const links = ip(["-n", name, "-o", "link", "show", "type", "veth"])
      return links.split("\n").some((link) => link !== "" && !link.includes("state UP"))
    })
    return waiting.length === 0 || `not yet those of ${waiting.map(({ name }) => name).join(", ")}`
  })
}

/** Builds a network; some 60 ms for each site. Removes what it made when it cannot. */
export const build = async (plan: Plan): Promise<Net> => {
  sweep()
  const spaces: Array<Namespace> = []
  const make = (address: string, isRouter = false): Namespace => {
    const space = add(address)
    spaces.push(space)
    exec(space, ["sh", "-c", settings(isRouter)])
    return space
  }
  const close = (): void => {
    process.off("exit", close)
    for (const { name } of spaces.splice(0)) remove(name)
  }
  process.once("exit", close)
  try {
    const segment = make("203.0.113.1", true)
    inside(segment, [
      "link set lo up",
      "link add public0 type bridge",
      "addr add 203.0.113.1/24 dev public0",
      "addr add 2001:db8::1/64 dev public0 nodad",
      "link set public0 up"
    ])
    /** A cable from a namespace to a bridge in another one. */
    const plug = (space: Namespace, device: string, bridge: Namespace, bridgeName: string, port: string): void => {
      ip(["-n", bridge.name, "link", "add", port, "type", "veth", "peer", "name", device, "netns", space.name])
      inside(bridge, [`link set ${port} master ${bridgeName}`, `link set ${port} up`])
    }
    const publicHosts = Array.from({ length: plan.publicHosts ?? 1 }, (_, index) => {
      const host = make(`203.0.113.${index + 2}`)
      plug(host, "eth0", segment, "public0", `host${index}`)
      inside(host, [
        "link set lo up",
        `addr add ${host.address}/24 dev eth0`,
        `addr add 2001:db8::${index + 2}/64 dev eth0 nodad`,
        "link set eth0 up",
        "route add default via 203.0.113.1",
        "route add default via 2001:db8::1"
      ])
      return host
    })
    /** A router whose outer side is plugged in at a bridge. */
    const route = (
      nat: Type,
      [outer, gateway]: readonly [string, string],
      [inner, length]: readonly [string, number],
      bridge: Namespace,
      bridgeName: string,
      port: string
    ): Namespace => {
      const router = make(outer, true)
      plug(router, WAN, bridge, bridgeName, port)
      inside(router, [
        "link set lo up",
        `addr add ${outer}/24 dev ${WAN}`,
        `link set ${WAN} up`,
        `route add default via ${gateway}`,
        `link add ${LAN} type bridge`,
        `addr add ${inner}/${length} dev ${LAN}`,
        `link set ${LAN} up`
      ])
      rules(router, `${translation(nat)}\n${firewall(nat)}\n`)
      return router
    }
    const sites = plan.sites.map((site, index): Site => {
      const outer = `203.0.113.${index + 10}`
      // Sixteen addresses each: 198.51.100.0/24 and 192.0.2.0/24 have room for 32 open sites.
      const block = `${index < 16 ? "198.51.100" : "192.0.2"}.${(index % 16) * 16}`
      if (site.nat === "open" && index >= 32) throw new RangeError("an open site has to be among the first 32")
      if (site.carrier !== undefined && (site.nat === "open" || site.ipv6))
        throw new RangeError("a site behind a provider's router has neither public addresses nor IPv6")
      const [network, length] = site.nat === "open" ? [block, 28] : [`192.168.${index + 1}.0`, 24]
      const place = (last: number): string => network.replace(/\d+$/, (first) => String(Number(first) + last))
      const network6 = `2001:db8:${(index + 1).toString(16)}:`
      const atPublic = [segment, "public0", `site${index}`] as const
      const toPublic = [outer, "203.0.113.1"] as const
      const inner = [place(1), length] as const
      const shared = `100.64.${index + 1}`
      const router =
        site.carrier === undefined
          ? route(site.nat, toPublic, inner, ...atPublic)
          : route(
              site.nat,
              [`${shared}.2`, `${shared}.1`],
              inner,
              route(site.carrier, toPublic, [`${shared}.1`, 24], ...atPublic),
              LAN,
              "site"
            )
      if (site.carrier === undefined)
        inside(router, [
          `addr add 2001:db8::${(index + 0x10).toString(16)}/64 dev ${WAN} nodad`,
          `addr add ${network6}:1/64 dev ${LAN} nodad`,
          "route add default via 2001:db8::1"
        ])
      if (site.nat === "open") inside(segment, [`route add ${network}/${length} via ${outer}`])
      if (site.ipv6) inside(segment, [`route add ${network6}:/64 via 2001:db8::${(index + 0x10).toString(16)}`])
      const hosts = Array.from({ length: site.hosts ?? 1 }, (_host, number) => {
        const host = make(place(number + 2))
        plug(host, "eth0", router, LAN, `host${number}`)
        inside(host, [
          "link set lo up",
          `addr add ${host.address}/${length} dev eth0`,
          "link set eth0 up",
          `route add default via ${place(1)}`,
          ...(site.ipv6
            ? [`addr add ${network6}:${number + 2}/64 dev eth0 nodad`, `route add default via ${network6}:1`]
            : [])
        ])
        return host
      })
      let isCut = false
      return {
        nat: site.nat,
        router,
        hosts,
        address: site.nat === "open" ? hosts[0]!.address : outer,
        addresses6: site.ipv6 ? hosts.map((_host, number) => `${network6}:${number + 2}`) : [],
        cut: () => {
          if (!isCut) rules(router, `${CUT}\n`)
          isCut = true
        },
        heal: () => {
          if (isCut) rules(router, "delete table inet cut\n")
          isCut = false
        }
      }
    })
    await settled(spaces)
    return { publicHosts, sites, close }
  } catch (cause) {
    close()
    throw cause
  }
}
