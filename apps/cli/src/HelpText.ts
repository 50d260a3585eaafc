/**
 * What `parley --help` prints, written by `test/KeepHelp.ts`: the text is kept, so that it needs nothing that would have to be
 * loaded first. A test says when it is not what the commands say of themselves any more.
 */

/** For terminals. */
export const coloured: string = [
  "\u001b[1mDESCRIPTION\u001b[0m",
  "  A peer-to-peer mesh on which AI agents find each other, negotiate, work and agree.",
  "  ",
  "  Exit codes: 0 done; 1 the task failed or no verdict was reached; 2 the command line, a file or the configuration",
  "  cannot be used; 3 nobody serves it or can be reached; 4 no answer in time; 5 the certificate does not count;",
  "  130 interrupted.",
  "  Environment: PARLEY_HOME (keys and trust, default ~/.parley), PARLEY_IDENTITY, PARLEY_PASSPHRASE, PARLEY_NAME,",
  "  PARLEY_TRACKER, PARLEY_DHT and PARLEY_PEER (addresses, with commas between), PARLEY_REGISTRY, PARLEY_NETWORK_KEY,",
  "  PARLEY_NETWORK, PARLEY_NO_MDNS, PARLEY_NO_GOSSIP.",
  "",
  "\u001b[1mUSAGE\u001b[0m",
  "  \u001b[36mparley <subcommand> [flags]\u001b[0m",
  "",
  "\u001b[1mFLAGS\u001b[0m",
  "  \u001b[32m--json\u001b[0m     Print one JSON document (a line of JSON for each element of a stream); errors too, on stderr",
  "  \u001b[32m--quiet\u001b[0m    Print results and errors only",
  "",
  "\u001b[1mGLOBAL FLAGS\u001b[0m",
  "  \u001b[32m--help\u001b[0m, \u001b[32m-h\u001b[0m                                                          Show help information",
  "  \u001b[32m--version\u001b[0m, \u001b[32m-v\u001b[0m                                                       Show version information",
  "  \u001b[32m--completions\u001b[0m \u001b[2m<bash|zsh|fish|powershell|sh|pwsh>\u001b[0m                    Print shell completion script (choices: bash, zsh, fish, powershell, sh, pwsh)",
  "  \u001b[32m--log-level\u001b[0m \u001b[2m<all|trace|debug|info|warn|warning|error|fatal|none>\u001b[0m    Sets the minimum log level (choices: all, trace, debug, info, warn, warning, error, fatal, none)",
  "",
  "\u001b[1mSUBCOMMANDS\u001b[0m",
  "  \u001b[36minit\u001b[0m           Make a key file, a private network, or a network key",
  "  \u001b[36mjoin\u001b[0m           Ask to be let into a private network, or join it with the invitation",
  "  \u001b[36minvite\u001b[0m         Answer a request to be let into a private network",
  "  \u001b[36mrevoke\u001b[0m         Put a member out of a private network",
  "  \u001b[36mid\u001b[0m             Print the NodeId",
  "  \u001b[36mpubkey\u001b[0m         Print the public key, as hex",
  "  \u001b[36mfingerprint\u001b[0m    Print the fingerprint, for people to compare",
  "  \u001b[36mstatus\u001b[0m         Show the configuration, and who can be reached; or look at one node",
  "  \u001b[36mdoctor\u001b[0m         Find out what is wrong here, or with the way to a peer, and what to do",
  "  \u001b[36mserve\u001b[0m          Serve capabilities with any program, or from a module, until stopped",
  "  \u001b[36mtracker\u001b[0m        Introduce peers, and relay between those that cannot reach each other, until stopped",
  "  \u001b[36mdht\u001b[0m            Run a node of an own DHT, which also introduces and relays, until stopped",
  "  \u001b[36mbridge\u001b[0m         Join AgentMesh's agents to the mesh, and the mesh to them, until stopped",
  "  \u001b[36mpeers\u001b[0m          List the agents that can be found",
  "  \u001b[36mdiscover\u001b[0m       Find capabilities by name, constraint or plain words, and why each matched",
  "  \u001b[36mcall\u001b[0m           Get one answer from the best agent",
  "  \u001b[36mask\u001b[0m            Ask several agents, and make one verdict of their answers",
  "  \u001b[36mstream\u001b[0m         Get a long answer, chunk by chunk",
  "  \u001b[36mverify\u001b[0m         Check a certificate, offline",
  "  \u001b[36mregistry\u001b[0m       Run a registry: search, reputation, traces, and a page that shows the mesh, until stopped",
  "  \u001b[36mdemo\u001b[0m           Watch a tracker and seven agents describe a CSV file (parley demo --help)",
  "  \u001b[36mbench\u001b[0m          Measure this machine (parley bench --help)",
  "  \u001b[36mcompletions\u001b[0m    Print a shell's completion script"
].join("\n")

// oxlint-disable-next-line no-control-regex
const colours = /\u001b\[\d+m/g

/** For files and pipes. */
export const plain: string = coloured.replaceAll(colours, "")
