/**
 * A local network of namespaces on one hub: every frame reaches every machine, so that an intruder on it sees all of them. A router
 * leads on to a network with public addresses (of documents, RFC 5737), so that whoever wants out gets out, and is counted.
 */
import { execFileSync } from "node:child_process"
import { add, type Namespace } from "../../../test-support/Namespace.ts"
import { until } from "../../../test-support/Until.ts"

/** An address beyond the router that answers to ping, and to nothing else. */
export const OUTSIDE = "203.0.113.9"

/** The network. */
export interface Lan {
  readonly hosts: ReadonlyArray<Namespace>
  readonly router: Namespace
  readonly close: () => void
}

const batch = (at: Namespace, lines: ReadonlyArray<string>): void =>
  void execFileSync("ip", ["-n", at.name, "-batch", "-"], { input: `${lines.join("\n")}\n`, stdio: "pipe" })

/** Builds it with so many hosts: 10.88.0.1 and on. */
export const build = async (hosts: number): Promise<Lan> => {
  const router = add("10.88.0.254")
  const made: Array<Namespace> = [router]
  const close = (): void => {
    for (const namespace of made.splice(0)) namespace.remove()
  }
  try {
    batch(router, [
      "link set lo up",
      // Frames are forgotten at once, so that all are sent everywhere: a hub.
      "link add br0 type bridge ageing_time 0 mcast_snooping 0",
      "addr add 10.88.0.254/24 dev br0",
      "link set br0 up",
      `addr add ${OUTSIDE}/24 dev lo`
    ])
    execFileSync("ip", ["netns", "exec", router.name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
    for (let at = 1; at <= hosts; at++) {
      const host = add(`10.88.0.${at}`)
      made.push(host)
      batch(router, [
        `link add port${at} type veth peer name lan0 netns ${host.name}`,
        `link set port${at} master br0 up`
      ])
      batch(host, [
        "link set lo up",
        `addr add ${host.address}/24 dev lan0`,
        `addr add fd00:88::${at}/64 dev lan0 nodad`,
        "link set lan0 up",
        "route add default via 10.88.0.254"
      ])
    }
    for (const host of made.slice(1))
      await until(`the cable of ${host.address}`, () =>
        execFileSync("ip", ["-n", host.name, "link", "show", "lan0"], { encoding: "utf8" }).includes("state UP")
      )
  } catch (cause) {
    close()
    throw cause
  }
  return { hosts: made.slice(1), router, close }
}
