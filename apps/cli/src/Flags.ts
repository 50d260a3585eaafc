/**
 * What can be said on the command line, by group; commands take the groups they need. Importing this reads no part of the mesh.
 */
import * as Argument from "effect/cli/Argument"
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"

type Infer<A extends Command.Command.Config> = Command.Command.Config.Infer<A>

const text = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar(metavar),
    Flag.withDescription(description),
    Flag.optional,
    Flag.map(Option.getOrUndefined)
  )

const number = (name: string, description: string, most = Number.POSITIVE_INFINITY) =>
  Flag.Finite(name).pipe(
    Flag.filter(
      (value) => value >= 0 && value <= most,
      (value) => `${value} is ${value < 0 ? "less than 0" : `more than ${most}`}`
    ),
    Flag.withMetavar("NUMBER"),
    Flag.withDescription(description),
    Flag.optional,
    Flag.map(Option.getOrUndefined)
  )

const count = (name: string, description: string) =>
  Flag.Int(name).pipe(
    Flag.filter(
      (value) => value >= 0,
      (value) => `${value} is less than 0`
    ),
    Flag.withMetavar("COUNT"),
    Flag.withDescription(description),
    Flag.optional,
    Flag.map(Option.getOrUndefined)
  )

const port = (name: string, description: string) =>
  Flag.Int(name).pipe(
    Flag.filter(
      (value) => value >= 0 && value <= 65_535,
      (value) => `${value} is no port: write one from 0 to 65535`
    ),
    Flag.withMetavar("PORT"),
    Flag.withDescription(description),
    Flag.optional,
    Flag.map(Option.getOrUndefined)
  )

const several = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar(metavar),
    Flag.withDescription(`${description} (may be repeated)`),
    Flag.atLeast(0)
  )

const yes = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withoutNegation, Flag.withDefault(false))

const optionalArgument = (name: string, description: string) =>
  Argument.String(name).pipe(
    Argument.withDescription(description),
    Argument.optional,
    Argument.map(Option.getOrUndefined)
  )

/** Every command. */
export const common = {
  json: yes("json", "Print one JSON document (a line of JSON for each element of a stream); errors too, on stderr"),
  quiet: yes("quiet", "Print results and errors only")
}
export type Common = Infer<typeof common>

/** Whoever reads or makes a key file. */
export const key = {
  identity: text("identity", "FILE", "Key file to act under (default for serve: identity.json in PARLEY_HOME)"),
  passphraseFile: text("passphrase-file", "FILE", "File whose first line opens the key file (or PARLEY_PASSPHRASE)")
}
export type Key = Infer<typeof key>

/** Whoever joins the mesh. */
export const joining = {
  ...key,
  name: text("name", "NAME", "Name that people see (default: the end of the NodeId)"),
  peer: several("peer", "ADDRESS", "Peer to connect to, tcp://host:port[/z6Mk…]"),
  tracker: several("tracker", "ADDRESS", "Tracker to register with and to ask; also in PARLEY_TRACKER"),
  dht: several("dht", "HOST:PORT", "Node of an own DHT to begin with, which may relay; also in PARLEY_DHT"),
  publicDht: yes("public-dht", "Find and be found through BitTorrent's public DHT, where everybody can see this node"),
  relay: several("relay", "ADDRESS", "Relay through which this node shall be reachable (default: trackers, own DHT)"),
  registry: text(
    "registry",
    "URL",
    "Registry to ask and to tell, and for serve to register with; also in PARLEY_REGISTRY"
  ),
  registryOfNetwork: yes("registry-of-network", "The registry belongs to the private network, and may know its agents"),
  noMdns: yes("no-mdns", "Do not look for peers on the local network"),
  noGossip: yes("no-gossip", "Do not carry what the mesh has to say: topics then reach connected peers alone"),
  networkKey: text("network-key", "FILE", "Key file of a private network; also in PARLEY_NETWORK_KEY"),
  network: text("network", "NAME", "Private network to act in, and nowhere else; also in PARLEY_NETWORK"),
  trust: text("trust", "FILE", "File that keeps trust (default: trust.json in PARLEY_HOME)")
}
export type Joining = Infer<typeof joining>

/** Whoever accepts connections. */
export const listening = {
  port: port("port", "TCP port to listen on, 0 for any (default: 7878; serve takes any where that is taken)"),
  host: text("host", "HOST", "Interface to listen on (default: all)"),
  advertise: several("advertise", "ADDRESS", "Address to publish in place of those listened on")
}
export type Listening = Infer<typeof listening>

/** Whoever chooses among agents. */
export const choosing = {
  where: several(
    "where",
    "TEST",
    "Constraint on metadata: 'language in en,de', 'size >= 7', 'gpu exists', 'model != x'"
  ),
  tag: several("tag", "TAG", "Tag that must be there"),
  feature: several("feature", "FEATURE", "Feature that must be there"),
  maxCost: number("max-cost", "Most it may cost, in US dollars"),
  maxLatency: number("max-latency", "Longest typical latency, in milliseconds"),
  minTrust: number("min-trust", "Least trust, 0 to 1", 1),
  policy: Flag.Literals("policy", ["balanced", "cheapest", "fastest", "best"]).pipe(
    Flag.withDescription("What counts most in the order"),
    Flag.optional,
    Flag.map(Option.getOrUndefined)
  )
}
export type Choosing = Infer<typeof choosing>

/** Whoever sends a task. */
export const placing = {
  ...choosing,
  via: text("via", "TRACKER", "Through the relay of this tracker, tcp://host:port, which is asked for agents, too"),
  deadline: text("deadline", "TIME", "How long the answer may take, such as 500ms, 2s or 1m (default: 30s)"),
  budget: number("budget", "What all of it may cost, in US dollars"),
  key: text("key", "TEXT", "Idempotency key: the same one at the same agent runs once"),
  field: text("field", "NAME", "Wrap the text of @FILE or of stdin as {NAME: text}")
}
export type Placing = Infer<typeof placing>

export const capability = Argument.String("capability").pipe(
  Argument.withDescription("name, name@version or name@range, such as csv.describe@^1")
)
export const input = optionalArgument(
  "input",
  'JSON text, @FILE (.json as JSON, others as {extension: text}: @table.csv is {"csv": …}), or - for stdin; default {}'
)

export const init = {
  ...key,
  networkKey: text("network-key", "FILE", "Make a network key in this new file instead"),
  network: text("network", "NAME", "Make a private network instead, and this machine its first member"),
  noRoot: yes("no-root", "Without a root: whoever has the network's key is a member, and nobody can be put out")
}
export type Init = Infer<typeof init>

/** Whoever keeps a network. */
const inNetwork = {
  passphraseFile: key.passphraseFile,
  network: text("network", "NAME", "Which network; also in PARLEY_NETWORK (default: the only one here)")
}

export const join = {
  passphraseFile: key.passphraseFile,
  invitation: optionalArgument("invitation", "The invitation, @FILE, or - for stdin; without one, a request is printed")
}
export type Join = Infer<typeof join>

export const invite = {
  ...inNetwork,
  expires: text("expires", "TIME", "How long the member's certificate counts, such as 90d (default: 366d)"),
  request: Argument.String("request").pipe(
    Argument.withDescription("What parley join has printed, @FILE, or - for stdin")
  )
}
export type Invite = Infer<typeof invite>

export const revoke = {
  ...inNetwork,
  member: Argument.String("member").pipe(
    Argument.withDescription(
      "NodeId of the member; or @FILE, or - for stdin, with revocations of the root that were carried here"
    )
  )
}
export type Revoke = Infer<typeof revoke>

export const identity = {
  ...key,
  network: text("network", "NAME", "Of its member here in this private network; also in PARLEY_NETWORK"),
  node: optionalArgument("node", "A NodeId or DID to tell of, instead of the key file's")
}
export type Identity = Infer<typeof identity>

export const status = {
  ...joining,
  watch: yes("watch", "Show the mesh as it changes, until stopped: drawn on a terminal, else a line for each change"),
  target: optionalArgument("peer", "ADDRESS or NODEID of a node to look at")
}
export type Status = Infer<typeof status>

export const doctor = {
  ...joining,
  ...listening,
  noListen: yes("no-listen", "Examine a node that accepts no connections"),
  mapPort: yes(
    "map-port",
    "Examine a node that has its router let the port through (NAT-PMP, UPnP): asks for it, and gives it back"
  ),
  target: optionalArgument("peer", "NODEID or ADDRESS of a peer: whether and how it is reached, and why not directly")
}
export type Doctor = Infer<typeof doctor>

export const serve = {
  ...joining,
  ...listening,
  noListen: yes("no-listen", "Accept no connections; be reached through a relay"),
  mapPort: yes("map-port", "Have this machine's router let the port through (NAT-PMP, UPnP), for as long as this runs"),
  capability: several("capability", "NAME@VERSION", "Capability to serve with the --exec at the same place"),
  exec: several("exec", "COMMAND", "Program that does it: JSON on stdin, JSON on stdout, exit code 0"),
  module: several("module", "FILE", "Module that exports what is served"),
  allow: several("allow", "[NAME=]NODE", "Who alone may call it, or the one capability that is named"),
  deny: several("deny", "[NAME=]NODE", "Who may not call it"),
  concurrency: count("concurrency", "Tasks run at once (default: 4 for --exec)"),
  queue: count("queue", "Tasks that may wait; one more is countered (default: 64 for --exec)"),
  description: text("description", "TEXT", "What it does, in words that people search for"),
  tag: several("tag", "TAG", "Tag"),
  feature: several("feature", "FEATURE", "Feature"),
  meta: several("meta", "KEY=VALUE", "Metadata; a value with commas is a list"),
  cost: number("cost", "US dollars for one call"),
  latency: number("latency", "Typical latency, in milliseconds")
}
export type Serve = Infer<typeof serve>

export const tracker = {
  ...key,
  ...listening,
  networkKey: joining.networkKey,
  network: joining.network
}
export type Tracker = Infer<typeof tracker>

export const dht = {
  ...tracker,
  dht: several("dht", "HOST:PORT", "Other node of the same DHT; also in PARLEY_DHT")
}
export type Dht = Infer<typeof dht>

export const bridge = {
  ...joining,
  ...listening,
  url: Argument.String("registry").pipe(Argument.withDescription("Registry of AgentMesh's agents, http://host:port")),
  agentId: text(
    "agent-id",
    "ID",
    "Agent id to register under (default: the NodeId at Parley's registries, else parley-…)"
  ),
  secretFile: text("secret-file", "FILE", "File whose first line is the registry's shared secret (or AGENT_SECRET)"),
  offer: several("offer", "NAME", "Capabilities of the mesh that AgentMesh's agents may call: text.count, text.*, *"),
  wsHost: text("ws-host", "HOST", "Interface of the socket that they call (default: 127.0.0.1)"),
  wsPort: port("ws-port", "Port of the socket that they call (default: any)"),
  endpoint: text("endpoint", "URL", "Where they find that socket, if not there: wss://agents.example"),
  noInbound: yes("no-inbound", "Do not register: AgentMesh's agents call nothing"),
  noOutbound: yes("no-outbound", "Do not serve what AgentMesh's agents offer")
}
export type Bridge = Infer<typeof bridge>

export const peers = joining
export type Peers = Infer<typeof peers>

export const discover = {
  ...joining,
  ...choosing,
  within: text("within", "TIME", "How long to search (default: until matches have settled, at most 5s)"),
  limit: count("limit", "Most matches to show"),
  wanted: Argument.String("wanted").pipe(
    Argument.withDescription("A name (csv.describe@^1, text.*) or plain words; nothing finds all"),
    Argument.variadic()
  )
}
export type Discover = Infer<typeof discover>

export const call = {
  ...joining,
  ...placing,
  to: text("to", "NODE", "This agent and no other: a NodeId, or an address"),
  receipt: yes("receipt", "Ask for the executor's signed receipt (shown with --json)"),
  capability,
  input
}
export type Call = Infer<typeof call>

export const stream = { ...joining, ...placing, to: call.to, capability, input }
export type Stream = Infer<typeof stream>

export const ask = {
  ...joining,
  ...placing,
  select: text("select", "SELECTION", "Whom to ask: all, top-N, random-N, diverse-N, … (default: top-5)"),
  aggregate: text("aggregate", "AGGREGATION", "How the answers become one (default: majority-vote)"),
  hedge: text("hedge", "TIME", "Ask one more when an invited agent has not answered after this time, or failed"),
  certificate: text("certificate", "FILE", "Write the verdict with its receipts, for parley verify"),
  publish: yes("publish", "Publish the verdict at the registry, with the question and every answer"),
  capability,
  input
}
export type Ask = Infer<typeof ask>

export const verify = {
  file: Argument.String("file").pipe(Argument.withDescription("Certificate file, or - for stdin"))
}
export type Verify = Infer<typeof verify>

export const registry = {
  port: port("port", "TCP port to listen on, 0 for any (default: 8000)"),
  host: text("host", "HOST", "Interface to listen on (default: 127.0.0.1; elsewhere everybody proves who they are)"),
  data: text("data", "FILE", "Data file (default: registry.db in PARLEY_HOME); DATABASE_URL takes PostgreSQL instead"),
  open: yes("open", "Ask nobody who they are: on loopback only, where it is the default"),
  keys: yes("keys", "Have nodes prove their keys on loopback, too"),
  seed: several("seed", "NODEID", "Node whose reports are believed beforehand"),
  cors: several("cors", "ORIGIN", "Origin whose pages may use the registry, https://app.example"),
  publicUrl: several("public-url", "URL", "URL that the registry is reached under besides its own, as behind a proxy"),
  trustedProxy: several(
    "trusted-proxy",
    "NETWORK",
    "Proxy in front of it whose X-Forwarded-For is believed, 10.0.0.0/8"
  )
}
export type Registry = Infer<typeof registry>

export const registryAudit = {
  source: Argument.String("source").pipe(
    Argument.withDescription("URL of a registry, its data file while it is stopped, or a file that --save has written")
  ),
  statement: several("statement", "FILE", "Statement that the registry handed out before"),
  head: text("head", "FILE", "Where the chain's head is kept: compared where there is one, and then written anew"),
  save: text("save", "FILE", "Save the chain here, a line of JSON for each report")
}
export type RegistryAudit = Infer<typeof registryAudit>

export const completions = {
  shell: Argument.Literals("shell", ["bash", "zsh", "fish", "powershell"])
}
export type Completions = Infer<typeof completions>

export const passedOn = {
  args: Argument.String("arguments").pipe(Argument.withDescription("Passed on as they are"), Argument.variadic())
}
export type PassedOn = Infer<typeof passedOn>
