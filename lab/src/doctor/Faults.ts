/** What is wrong in the lab, one thing at a time, and what the doctor must say of it. */
import { chmodSync } from "node:fs"
import type { Namespace } from "../../../test-support/Namespace.ts"
import type { Examined, Site } from "./Site.ts"

/** Where faults are planted. */
export interface Places {
  /** Two machines on a cable: the doctor's, and one for trackers and peers. */
  readonly here: Namespace
  readonly there: Namespace
  /** A machine on no network. */
  readonly lonely: Namespace
  /** Two machines in public, and one behind a NAT of each kind. */
  readonly public: ReadonlyArray<Namespace>
  readonly behindSymmetric: Namespace
  readonly behindCone: Namespace
}

/** One thing that is wrong, or nothing. */
export interface Fault {
  readonly name: string
  readonly what: string
  /** Codes that must be among the findings. */
  readonly says: ReadonlyArray<string>
  /** Whether the doctor must call it a failure; then these codes are the only failures. */
  readonly fails: boolean
  readonly examine: (site: Site, places: Places) => Promise<Examined>
}

const quiet = ["--no-mdns"]
const addressOf = (at: Namespace, port: number): string => `tcp://${at.address}:${port}`
const tracker = (site: Site, at: Namespace, port = 7878) => site.parley(at, "tracker", "--port", String(port))
const serve = async (site: Site, at: Namespace, ...more: ReadonlyArray<string>) => {
  const running = await site.parley(
    at,
    ...["serve", "--capability", "text.echo@1.0.0", "--exec", "cat", "--port", "7900", ...quiet, ...more]
  )
  return { ...running, node: String(running.said["node"]) }
}

/** Waits until a tracker has heard of a node. */
const known = (site: Site, at: Namespace, node: string, via: ReadonlyArray<string>): void => {
  for (let left = 20; left > 0; left--)
    if (site.run(at, "asker", "peers", "--json", ...quiet, ...via).includes(node)) return
  throw new Error(`the tracker does not know ${node}`)
}

/** The planted faults. */
export const faults: ReadonlyArray<Fault> = [
  {
    name: "nothing",
    what: "nothing is wrong",
    says: ["Reachable", "NoNat", "Clock", "Relay", "PortFree", "PeerDirect", "Multicast"],
    fails: false,
    examine: async (site, { here, there }) => {
      await tracker(site, there)
      const peer = await serve(site, there, "--tracker", addressOf(there, 7878))
      return site.doctor(here, peer.node, "--tracker", addressOf(there, 7878))
    }
  },
  {
    name: "port",
    what: "another program has the port",
    says: ["PortTaken"],
    fails: true,
    examine: async (site, { here }) => {
      await site.mute(here, 7878, "mute")
      return site.doctor(here, ...quiet)
    }
  },
  {
    name: "firewall",
    what: "a firewall drops what comes in",
    says: ["FirewallInbound"],
    fails: true,
    examine: async (site, { here, there }) => {
      await tracker(site, there)
      site.rules(here, "add rule inet planted in tcp dport 7878 drop")
      return site.doctor(here, ...quiet, "--tracker", addressOf(there, 7878))
    }
  },
  {
    name: "multicast",
    what: "no multicast, and nothing else to find peers by",
    says: ["NoMulticast"],
    fails: true,
    examine: (site, { here }) => {
      site.rules(here, "add rule inet planted out ip daddr 224.0.0.0/4 drop")
      return site.doctor(here)
    }
  },
  {
    name: "network-key",
    what: "the peer has another network key",
    says: ["PeerWrongNetworkKey"],
    fails: true,
    examine: async (site, { here, there }) => {
      for (const name of ["ours", "theirs"]) site.run(here, "keys", "init", "--network-key", site.path(`${name}.key`))
      await serve(site, there, "--network-key", site.path("theirs.key"))
      return site.doctor(here, addressOf(there, 7900), ...quiet, "--network-key", site.path("ours.key"))
    }
  },
  {
    name: "clock",
    what: "this machine's clock is an hour behind that of two trackers",
    says: ["ClockOff"],
    fails: true,
    examine: async (site, { here, there }) => {
      const ports = [7878, 7879]
      for (const port of ports) await site.skewed(there, 3_600_000, "tracker", "--port", String(port))
      return site.doctor(here, ...quiet, ...ports.flatMap((port) => ["--tracker", addressOf(there, port)]))
    }
  },
  {
    name: "tracker-clock",
    what: "one of three trackers has a clock that is ten minutes behind",
    says: ["RelayClockOff", "Clock"],
    fails: false,
    examine: async (site, { here, there }) => {
      for (const port of [7878, 7879]) await tracker(site, there, port)
      await site.skewed(there, -600_000, "tracker", "--port", "7880")
      const ports = [7878, 7879, 7880]
      return site.doctor(here, ...quiet, ...ports.flatMap((port) => ["--tracker", addressOf(there, port)]))
    }
  },
  {
    name: "tracker-dead",
    what: "the tracker does not run",
    says: ["RelayNothingListens"],
    fails: true,
    examine: (site, { here, there }) => site.doctor(here, ...quiet, "--tracker", addressOf(there, 7878))
  },
  {
    name: "tracker-frozen",
    what: "the tracker is stopped and its machine is not",
    says: ["RelaySilent"],
    fails: true,
    examine: async (site, { here, there }) => {
      const { pid } = await tracker(site, there)
      process.kill(pid, "SIGSTOP")
      return site.doctor(here, ...quiet, "--tracker", addressOf(there, 7878))
    }
  },
  {
    name: "not-parley",
    what: "a web server is at the tracker's address",
    says: ["RelayNotParley"],
    fails: true,
    examine: async (site, { here, there }) => {
      await site.mute(there, 8080, "http")
      return site.doctor(here, ...quiet, "--tracker", addressOf(there, 8080))
    }
  },
  {
    name: "symmetric-nat",
    what: "a NAT gives each connection another port",
    says: ["NatSymmetric", "NoForward"],
    fails: false,
    examine: async (site, { behindSymmetric, public: outside }) => {
      for (const at of outside) await tracker(site, at)
      const trackers = outside.flatMap((at) => ["--tracker", addressOf(at, 7878)])
      return site.doctor(behindSymmetric, ...quiet, ...trackers)
    }
  },
  {
    name: "cone-nat",
    what: "a NAT that keeps the port",
    says: ["NatCone"],
    fails: false,
    examine: async (site, { behindCone, public: outside }) => {
      for (const at of outside) await tracker(site, at)
      return site.doctor(behindCone, ...quiet, ...outside.flatMap((at) => ["--tracker", addressOf(at, 7878)]))
    }
  },
  {
    name: "peer-frozen",
    what: "the peer is asleep",
    says: ["PeerSilent"],
    fails: true,
    examine: async (site, { here, there }) => {
      const via = ["--tracker", addressOf(there, 7878)]
      await tracker(site, there)
      const peer = await serve(site, there, ...via)
      known(site, here, peer.node, via)
      process.kill(peer.pid, "SIGSTOP")
      return site.doctor(here, peer.node, ...quiet, ...via)
    }
  },
  {
    name: "peer-firewalled",
    what: "a firewall before the peer drops what comes in: a relay carries it",
    says: ["PeerRelayed"],
    fails: false,
    examine: async (site, { here, there }) => {
      const via = ["--tracker", addressOf(there, 7878)]
      await tracker(site, there)
      const peer = await serve(site, there, ...via)
      site.rules(there, "add rule inet planted in iifname != lo tcp dport 7900 drop")
      return site.doctor(here, peer.node, ...quiet, ...via)
    }
  },
  {
    name: "peer-unknown",
    what: "the peer was never there",
    says: ["PeerNotFound"],
    fails: true,
    examine: async (site, { here, there }) => {
      await tracker(site, there)
      site.run(here, "stranger", "init")
      return site.doctor(here, site.run(here, "stranger", "id").trim(), ...quiet, "--tracker", addressOf(there, 7878))
    }
  },
  {
    name: "revoked",
    what: "the private network's root has put this member out",
    says: ["PeerRevoked"],
    fails: true,
    examine: async (site, { here, there }) => {
      site.run(there, "root", "init", "--network", "ward")
      const request = site.run(here, "doctor", "join").trim()
      const invitation = site.run(there, "root", "invite", "--network", "ward", request).trim()
      site.run(here, "doctor", "join", invitation)
      const key = site.path("doctor/networks/ward/identity.json")
      const member = site.run(here, "doctor", "id", "--identity", key).trim()
      site.run(there, "root", "revoke", "--network", "ward", member)
      await site.parleyAt(
        there,
        "root",
        ...[
          "serve",
          "--capability",
          "text.echo@1.0.0",
          "--exec",
          "cat",
          "--port",
          "7900",
          "--network",
          "ward",
          ...quiet
        ]
      )
      return site.doctor(here, addressOf(there, 7900), "--network", "ward", ...quiet)
    }
  },
  {
    name: "dht",
    what: "no node of the DHT answers",
    says: ["DhtUnreachable"],
    fails: true,
    examine: async (site, { here, there }) => {
      // What the node would also relay through is there: only UDP is not answered.
      await tracker(site, there, 6881)
      return site.doctor(here, ...quiet, "--dht", `${there.address}:6881`)
    }
  },
  {
    name: "key-file",
    what: "others can read the key file",
    says: ["KeyFileReadable"],
    fails: true,
    examine: (site, { here }) => {
      site.run(here, "doctor", "init")
      chmodSync(site.path("doctor/identity.json"), 0o644)
      return site.doctor(here, ...quiet)
    }
  },
  {
    name: "no-interface",
    what: "the machine is on no network",
    says: ["NoInterface"],
    fails: true,
    examine: (site, { lonely }) => site.doctor(lonely, ...quiet)
  }
]
