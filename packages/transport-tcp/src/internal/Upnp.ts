/**
 * UPnP through `nat-port-mapper`, but for the search: the library's would listen on port 1900 and fetch whatever any machine of
 * the network names. This one asks the network and believes its router alone.
 */
import { createSocket } from "node:dgram"
import type { Gateway } from "@achingbrain/nat-port-mapper"
import * as PortMapping from "../PortMapping.ts"

/** Where UPnP devices listen (UPnP Device Architecture 2.0, 1.2). */
export const GROUP = "239.255.255.250"
const GROUP_PORT = 1_900
/** What the library speaks. */
const ROUTER = "urn:schemas-upnp-org:device:InternetGatewayDevice:2"
/** The question is sent so often in a search, since datagrams get lost. */
const QUESTIONS = 3
/** Longest answer that is read, in bytes: one datagram of Ethernet. */
const MAX_ANSWER_BYTES = 1_500

/** The description of the router that an answer names, where it is the router's own. */
export const locationIn = (answer: Uint8Array, router: string): URL | undefined => {
  if (answer.length > MAX_ANSWER_BYTES) return undefined
  const text = Buffer.from(answer).toString("latin1")
  const [, location] = /^HTTP\/1\.[01] 200[^\n]*\n(?:[^\n]*\n)*?location:[ \t]*(\S{1,512})/i.exec(text) ?? []
  if (location === undefined || !text.includes(ROUTER) || !URL.canParse(location)) return undefined
  const url = new URL(location)
  return url.protocol === "http:" && url.hostname === router && url.username === "" ? url : undefined
}

/** Asks the network of this address for its router. */
const search = (router: string, local: string, signal: AbortSignal): Promise<URL> =>
  new Promise((resolve, reject) => {
    const socket = createSocket({ type: "udp4" })
    const question = [
      "M-SEARCH * HTTP/1.1",
      `HOST: ${GROUP}:${GROUP_PORT}`,
      'MAN: "ssdp:discover"',
      "MX: 1",
      `ST: ${ROUTER}`,
      "",
      ""
    ].join("\r\n")
    let over = false
    const end = (): boolean => {
      if (over) return false
      over = true
      clearTimeout(deadline)
      clearInterval(again)
      signal.removeEventListener("abort", abort)
      try {
        socket.close()
      } catch {
        // It never opened.
      }
      return true
    }
    const fail = (why: Error): void => {
      if (end()) reject(why)
    }
    const abort = (): void => fail(new Error("given up"))
    const ask = (): void =>
      socket.send(question, GROUP_PORT, GROUP, (error) => {
        if (error) fail(error)
      })
    let asked = 0
    const again = setInterval(() => {
      if (asked > 0 && asked++ < QUESTIONS) ask()
    }, PortMapping.SEARCH_MS / QUESTIONS)
    const deadline = setTimeout(() => fail(new Error("the router did not answer the search")), PortMapping.SEARCH_MS)
    signal.addEventListener("abort", abort)
    socket.on("error", fail)
    socket.on("message", (answer, from) => {
      const url = from.address === router ? locationIn(answer, router) : undefined
      if (url !== undefined && end()) resolve(url)
    })
    socket.bind(0, local, () => {
      if (over) return
      try {
        socket.setMulticastInterface(local)
      } catch {
        // The system chooses.
      }
      asked++
      ask()
    })
    if (signal.aborted) abort()
  })

const within = (signal: AbortSignal): AbortSignal => AbortSignal.any([signal, AbortSignal.timeout(PortMapping.UPNP_MS)])

const gatewayAt = async (router: string, local: string, signal: AbortSignal): Promise<Gateway> => {
  const { upnpNat } = await import("@achingbrain/nat-port-mapper")
  const url = await search(router, local, signal)
  return await upnpNat({ autoRefresh: false }).getGateway(url, { signal: within(signal) })
}

/** A mapping, and what takes it back. */
export interface Mapped {
  readonly mapping: PortMapping.Mapping
  readonly unmap: (signal: AbortSignal) => Promise<void>
}

/** Maps the port, or renews it: `wanted` is the outer one. */
export const map = async (
  router: string,
  local: { readonly host: string; readonly port: number },
  wanted: number,
  signal: AbortSignal
): Promise<Mapped> => {
  const gateway = await gatewayAt(router, local.host, signal)
  const { externalHost, externalPort } = await gateway.map(local.port, local.host, {
    // TCP, as it is when nothing is said: the library hands these on to `fetch`, and Bun's knows a `protocol` of its own.
    description: "Parley",
    externalPort: wanted,
    autoRefresh: false,
    // The library takes milliseconds here.
    ttl: PortMapping.LEASE_MS,
    signal: within(signal)
  })
  return {
    mapping: {
      protocol: "UPnP",
      gateway: router,
      local,
      external: { host: externalHost, port: externalPort },
      leaseMs: PortMapping.LEASE_MS
    },
    // The library takes back the outer port of the same number, whosever that is: another one is left to its lease.
    unmap: async (stop) => {
      if (externalPort === local.port) await gateway.unmap(local.port, { signal: stop })
    }
  }
}
