/**
 * The commands of `parley`. What a command does is loaded when it is called, so that help and completions come at once.
 */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Flags from "./Flags.ts"

/** The version that `parley --version` prints. */
export const VERSION = "0.1.0"

const root = Command.make("parley").pipe(
  Command.withDescription(
    [
      "A peer-to-peer mesh on which AI agents find each other, negotiate, work and agree.",
      "",
      "Exit codes: 0 done; 1 the task failed or no verdict was reached; 2 the command line, a file or the configuration",
      "cannot be used; 3 nobody serves it or can be reached; 4 no answer in time; 5 the certificate does not count;",
      "130 interrupted.",
      "Environment: PARLEY_HOME (keys and trust, default ~/.parley), PARLEY_IDENTITY, PARLEY_PASSPHRASE, PARLEY_NAME,",
      "PARLEY_TRACKER, PARLEY_DHT and PARLEY_PEER (addresses, with commas between), PARLEY_REGISTRY, PARLEY_NETWORK_KEY,",
      "PARLEY_NETWORK, PARLEY_NO_MDNS, PARLEY_NO_GOSSIP."
    ].join("\n  ")
  ),
  Command.withSharedFlags(Flags.common)
)

/** Runs a command's own module with its flags and the common ones. */
const lazily =
  <A, E>(load: () => Promise<{ readonly run: (options: A & Flags.Common) => Effect.Effect<void, E> }>) =>
  (options: A) =>
    Effect.gen(function* () {
      const common = yield* root
      const { run } = yield* Effect.promise(load)
      yield* run({ ...common, ...options })
    })

const example = (command: string, description: string) => ({ command, description })

const init = Command.make(
  "init",
  Flags.init,
  lazily(() => import("./commands/Init.ts"))
).pipe(
  Command.withDescription("Make a key file, a private network, or a network key"),
  Command.withExamples([
    example("parley init", "Make identity.json in PARLEY_HOME, and print who that is"),
    example("parley init --network ward", "Make a private network whose root certifies its members"),
    example("parley init --network-key mesh.key", "Make a network's key alone, to be copied to every member")
  ])
)

const join = Command.make(
  "join",
  Flags.join,
  lazily(() => import("./commands/Join.ts"))
).pipe(
  Command.withDescription("Ask to be let into a private network, or join it with the invitation"),
  Command.withExamples([
    example("parley join > request", "Print a request: nothing in it is secret"),
    example("parley join @invitation", "Join with the answer, which opens here, once, and nowhere else")
  ])
)

const invite = Command.make(
  "invite",
  Flags.invite,
  lazily(() => import("./commands/Invite.ts"))
).pipe(
  Command.withDescription("Answer a request to be let into a private network"),
  Command.withExamples([
    example("parley invite @request > invitation", "Where the network's root is"),
    example("parley invite @request --network ward --expires 30d", "For a month")
  ])
)

const revoke = Command.make(
  "revoke",
  Flags.revoke,
  lazily(() => import("./commands/Revoke.ts"))
).pipe(
  Command.withDescription("Put a member out of a private network"),
  Command.withExamples([
    example("parley revoke z6Mk…", "Where the network's root is: members tell each other"),
    example("parley revoke @revocations.json", "Take over the root's list where no member can be reached")
  ])
)

const identity = (name: "id" | "pubkey" | "fingerprint", description: string) =>
  Command.make(name, Flags.identity, (options) =>
    lazily(() => import("./commands/Identity.ts"))({ ...options, show: name })
  ).pipe(
    Command.withDescription(description),
    Command.withExamples([example(`parley ${name}`, "Of the key file"), example(`parley ${name} z6Mk…`, "Of a node")])
  )

const status = Command.make(
  "status",
  Flags.status,
  lazily(() => import("./commands/Status.ts"))
).pipe(
  Command.withDescription("Show the configuration, and who can be reached; or look at one node"),
  Command.withExamples([
    example("parley status", "Own identity, configuration, peers found"),
    example("parley status tcp://192.168.1.20:7878", "Who is there, and what it serves"),
    example("parley status --watch", "The mesh as it changes")
  ])
)

const doctor = Command.make(
  "doctor",
  Flags.doctor,
  lazily(() => import("./commands/Doctor.ts"))
).pipe(
  Command.withDescription("Find out what is wrong here, or with the way to a peer, and what to do"),
  Command.withExamples([
    example("parley doctor --tracker tcp://tracker.example:7878", "Key, port, multicast, NAT, relays, clock"),
    example("parley doctor z6Mk… --tracker tcp://tracker.example:7878", "Why a peer is relayed, or not reached at all")
  ])
)

const serve = Command.make(
  "serve",
  Flags.serve,
  lazily(() => import("./commands/Serve.ts"))
).pipe(
  Command.withDescription("Serve capabilities with any program, or from a module, until stopped"),
  Command.withExamples([
    example("parley serve --capability csv.describe@1.0.0 --exec ./describe.py", "JSON on stdin, JSON on stdout"),
    example("parley serve --module ./caps.ts --tracker tcp://tracker.example:7878", "What the module exports"),
    example(
      "parley serve --capability text.count@1.0.0 --exec 'wc -w' --concurrency 2 --meta language=en,de",
      "Details"
    )
  ])
)

const tracker = Command.make(
  "tracker",
  Flags.tracker,
  lazily(() => import("./commands/Tracker.ts"))
).pipe(
  Command.withDescription("Introduce peers, and relay between those that cannot reach each other, until stopped"),
  Command.withExamples([example("parley tracker --port 7878", "A tracker on every interface")])
)

const dht = Command.make(
  "dht",
  Flags.dht,
  lazily(() => import("./commands/Dht.ts"))
).pipe(
  Command.withDescription("Run a node of an own DHT, which also introduces and relays, until stopped"),
  Command.withExamples([
    example("parley dht", "On a host that all can reach; others join with --dht HOST:7878"),
    example("parley dht --dht first.example:7878", "One more: a DHT lives as long as one of its nodes does")
  ])
)

const bridge = Command.make(
  "bridge",
  Flags.bridge,
  lazily(() => import("./commands/Bridge.ts"))
).pipe(
  Command.withDescription("Join AgentMesh's agents to the mesh, and the mesh to them, until stopped"),
  Command.withExamples([
    example("parley bridge http://localhost:8000", "Its agents become capabilities of this node"),
    example("parley bridge http://localhost:8000 --offer 'text.*'", "They may also call what the mesh offers")
  ])
)

const peers = Command.make(
  "peers",
  Flags.peers,
  lazily(() => import("./commands/Peers.ts"))
).pipe(
  Command.withDescription("List the agents that can be found"),
  Command.withExamples([example("parley peers --tracker tcp://tracker.example:7878", "Those a tracker knows, too")])
)

const discover = Command.make(
  "discover",
  Flags.discover,
  lazily(() => import("./commands/Discover.ts"))
).pipe(
  Command.withDescription("Find capabilities by name, constraint or plain words, and why each matched"),
  Command.withExamples([
    example("parley discover summary statistics of a table", "Plain words"),
    example("parley discover 'text.*' --where 'language in en,de' --max-cost 0.01", "Names and constraints")
  ])
)

const call = Command.make(
  "call",
  Flags.call,
  lazily(() => import("./commands/Call.ts"))
).pipe(
  Command.withDescription("Get one answer from the best agent"),
  Command.withExamples([
    example(`parley call text.count@^1 '{"text":"two words"}'`, "Whoever serves it best"),
    example("parley call csv.describe @table.csv --via tcp://tracker.example:7878 --deadline 10s", "Through a relay")
  ])
)

const stream = Command.make(
  "stream",
  Flags.stream,
  lazily(() => import("./commands/Stream.ts"))
).pipe(
  Command.withDescription("Get a long answer, chunk by chunk"),
  Command.withExamples([example(`parley stream text.write@^1 '{"topic":"mesh"}'`, "A line for each chunk")])
)

const ask = Command.make(
  "ask",
  Flags.ask,
  lazily(() => import("./commands/Ask.ts"))
).pipe(
  Command.withDescription("Ask several agents, and make one verdict of their answers"),
  Command.withExamples([
    example(
      "parley ask csv.describe@^1 @table.csv --select top-5 --aggregate cluster-vote --certificate verdict.json",
      "Five agents; answers that are nearly equal count as equal; keep the proof"
    )
  ])
)

const verify = Command.make(
  "verify",
  Flags.verify,
  lazily(() => import("./commands/Verify.ts"))
).pipe(
  Command.withDescription("Check a certificate, offline"),
  Command.withExamples([example("parley verify verdict.json", "Exit code 5 when it does not count")])
)

const registryAudit = Command.make(
  "audit",
  Flags.registryAudit,
  lazily(() => import("./commands/RegistryAudit.ts"))
).pipe(
  Command.withDescription("Check that a registry's history is what it was, and that its conclusions follow from it"),
  Command.withExamples([
    example("parley registry audit https://registry.example --head head.json", "Exit code 1 when something is wrong"),
    example("parley registry audit chain.jsonl --statement ada.json", "Offline, with what the registry said before")
  ])
)

const registry = Command.make(
  "registry",
  Flags.registry,
  lazily(() => import("./commands/Registry.ts"))
).pipe(
  Command.withDescription("Run a registry: search, reputation, traces, and a page that shows the mesh, until stopped"),
  Command.withExamples([
    example("parley registry", "On this machine, with its data in PARLEY_HOME"),
    example("parley registry --host 0.0.0.0 --public-url https://registry.example", "For others, who prove their keys"),
    example("AGENT_SECRET=… DATABASE_URL=postgres://… parley registry", "With AgentMesh's secret, on PostgreSQL")
  ]),
  Command.withSubcommands([registryAudit])
)

const demo = Command.make("demo", Flags.passedOn, ({ args }) =>
  Effect.andThen(root, lazily(() => import("./commands/App.ts"))({ app: "demo", args }))
).pipe(Command.withDescription("Watch a tracker and seven agents describe a CSV file (parley demo --help)"))

const bench = Command.make("bench", Flags.passedOn, ({ args }) =>
  Effect.andThen(root, lazily(() => import("./commands/App.ts"))({ app: "bench", args }))
).pipe(Command.withDescription("Measure this machine (parley bench --help)"))

// A function, since the commands contain this one.
const described = (): Command.Command.Any => parley

const completions = Command.make("completions", Flags.completions, ({ shell }) =>
  Effect.flatMap(
    Effect.promise(() => import("./commands/Completions.ts")),
    ({ run }) => run(shell, described())
  )
).pipe(
  Command.withDescription("Print a shell's completion script"),
  Command.withExamples([example("parley completions bash > ~/.local/share/bash-completion/completions/parley", "Bash")])
)

/** The `parley` command. */
export const parley = root.pipe(
  Command.withSubcommands([
    init,
    join,
    invite,
    revoke,
    identity("id", "Print the NodeId"),
    identity("pubkey", "Print the public key, as hex"),
    identity("fingerprint", "Print the fingerprint, for people to compare"),
    status,
    doctor,
    serve,
    tracker,
    dht,
    bridge,
    peers,
    discover,
    call,
    ask,
    stream,
    verify,
    registry,
    demo,
    bench,
    completions
  ])
)
