/**
 * A real router daemon for tests: miniupnpd (Debian's `miniupnpd-nftables`), which maps ports on request, by NAT-PMP, PCP and UPnP. It
 * runs in the namespace of a router of `Nat.ts` alone; its files are in a temporary folder.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { exec } from "./Namespace.ts"
import type { Site } from "./Nat.ts"
import { untilValue } from "./Until.ts"

const binary = ["/usr/sbin/miniupnpd", "/usr/local/sbin/miniupnpd"].find((path) => existsSync(path))

/** Why there is none here, or not the one that speaks nftables; undefined when there is. */
export const unavailable = (): string | undefined => {
  if (binary === undefined) return "no miniupnpd (Debian's miniupnpd-nftables gives it)"
  const version = execFileSync(binary, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })
  return version.includes("nftables") ? undefined : "this miniupnpd does not speak nftables (miniupnpd-nftables does)"
}

/** What the daemon calls its outer address: it refuses those of documents. Nothing leaves the namespaces. */
export const ADDRESS = "11.0.0.10"

export interface Daemon {
  /** The ports that it lets through now: `7878 to 192.168.1.2:7878`, as the kernel has them. */
  readonly mappings: () => ReadonlyArray<string>
  /** Ends it. Safe to call twice. */
  readonly stop: () => void
}

const chains = `table inet miniupnpd {
  chain forward { type filter hook forward priority -10; }
  chain prerouting { type nat hook prerouting priority dstnat; }
  chain postrouting { type nat hook postrouting priority srcnat; }
}
`

/** Starts it at a site's router. */
export const start = async (site: Site, speaks: { natPmp: boolean; upnp: boolean }): Promise<Daemon> => {
  const { router } = site
  const folder = mkdtempSync(join(tmpdir(), "parley-miniupnpd-"))
  const settings = [
    "ext_ifname=wan0",
    `ext_ip=${ADDRESS}`,
    "listening_ip=lan0",
    "http_port=5555",
    `enable_natpmp=${speaks.natPmp ? "yes" : "no"}`,
    `enable_upnp=${speaks.upnp ? "yes" : "no"}`,
    "secure_mode=yes",
    "uuid=6a9f4ef2-0b4c-4a0e-9d65-0d9f3a7a5b11",
    "upnp_table_name=miniupnpd",
    "upnp_nat_table_name=miniupnpd",
    "upnp_forward_chain=forward",
    "upnp_nat_chain=prerouting",
    "upnp_nat_postrouting_chain=postrouting",
    "allow 1024-65535 0.0.0.0/0 1024-65535",
    "deny 0-65535 0.0.0.0/0 0-65535"
  ]
  const config = join(folder, "miniupnpd.conf")
  writeFileSync(config, `${settings.join("\n")}\n`)
  let daemon: ChildProcess | undefined
  let said = ""
  const stop = (): void => {
    daemon?.kill("SIGKILL")
    daemon = undefined
    rmSync(folder, { recursive: true, force: true })
    try {
      exec(router, ["nft", "delete", "table", "inet", "miniupnpd"])
    } catch {
      // The namespace is gone, or it never got that far.
    }
  }
  try {
    exec(router, ["nft", "-f", "-"], chains)
    // `ip netns exec` becomes the daemon, so that this process is its parent.
    const args = ["netns", "exec", router.name, binary!, "-d", "-f", config, "-P", join(folder, "pid")]
    daemon = spawn("ip", args, { stdio: ["ignore", "pipe", "pipe"] })
    for (const stream of [daemon.stdout, daemon.stderr]) stream?.on("data", (chunk: Buffer) => (said += String(chunk)))
    const ready = [...(speaks.upnp ? ["HTTP listening"] : []), ...(speaks.natPmp ? ["Listening for NAT-PMP"] : [])]
    const { exitCode } = await untilValue(
      "miniupnpd's start",
      () => ({ exitCode: daemon!.exitCode, said: said.slice(-2_000) }),
      (now) => now.exitCode !== null || ready.every((words) => said.includes(words))
    )
    if (exitCode !== null) throw new Error(`miniupnpd ended with ${exitCode}; it said ${said.slice(-2_000)}`)
  } catch (cause) {
    stop()
    throw cause
  }
  return {
    mappings: () => {
      const text = exec(router, ["nft", "list", "chain", "inet", "miniupnpd", "prerouting"])
      return [...text.matchAll(/dport (\d+) dnat.* to (\S+)/g)].map(([, port, to]) => `${port} to ${to}`)
    },
    stop
  }
}
