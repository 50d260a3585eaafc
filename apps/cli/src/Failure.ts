/**
 * What went wrong, as a terminal and a script see it: a line that says what to do, a code, and the exit code.
 */
import * as Cause from "effect/Cause"
import * as Schema from "effect/Schema"

/** Exit codes, as documented in `docs/cli.md`. */
export const ExitCode = {
  Ok: 0,
  /** The task failed, or no verdict was reached. */
  TaskFailed: 1,
  /** The command line, a file or the configuration cannot be used. */
  Usage: 2,
  /** Nobody serves it, or nobody can be reached. */
  NoPeer: 3,
  /** No answer in time. */
  Deadline: 4,
  /** The certificate does not count. */
  InvalidCertificate: 5,
  /** A mistake in the program itself (EX_SOFTWARE of sysexits.h). */
  Bug: 70,
  /** Ended by Ctrl-C. */
  Interrupted: 130
} as const

/** The command line, a file or the configuration cannot be used. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", {
  code: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return this.detail
  }
}

/** A `UsageError`. */
export const usage = (code: string, detail: string): UsageError => new UsageError({ code, detail })

/** Something was done, and did not come to what was asked: the result is printed already, and only the exit code is left. */
export class Unsuccessful extends Schema.TaggedError<Unsuccessful>()("Unsuccessful", { exitCode: Schema.Int }) {}

/** A `NodeError` in the words for people, with the names of agents. */
export class Named extends Schema.TaggedError<Named>()("Named", { error: Schema.Unknown, text: Schema.String }) {
  override get message(): string {
    return this.text
  }
}

/** What is told about a failure. */
export interface Told {
  readonly exitCode: number
  readonly code: string
  readonly message: string
  readonly reason?: unknown
}

const exitCodeOfReason = (tag: string): number => {
  switch (tag) {
    case "NoPeer":
    case "Unreachable":
    case "Disconnected":
    case "CircuitOpen":
      return ExitCode.NoPeer
    case "DeadlineExceeded":
      return ExitCode.Deadline
    case "BadQuery":
    case "CannotServe":
      return ExitCode.Usage
    default:
      return ExitCode.TaskFailed
  }
}

const exitCodeOf = (tag: string, reason: string | undefined): number => {
  switch (tag) {
    case "NodeError":
      return exitCodeOfReason(reason ?? "")
    case "TransportError":
      return reason === "ListenFailed" || reason === "UnknownScheme" ? ExitCode.Usage : ExitCode.NoPeer
    case "DiscoveryError":
    case "KeyStoreError":
    case "FileError":
    case "NetworkError":
    case "UsageError":
    case "ChainSourceError":
    case "StrategyError":
    case "ShowHelp":
      return ExitCode.Usage
    case "StoreError":
      return reason === "Unavailable" ? ExitCode.NoPeer : ExitCode.Usage
    case "AgentMeshError":
      return reason === "Unreachable" ? ExitCode.NoPeer : ExitCode.TaskFailed
    case "RegistryError":
      return reason === "Unreachable" || reason === "Unavailable"
        ? ExitCode.NoPeer
        : reason === "BadUrl"
          ? ExitCode.Usage
          : ExitCode.TaskFailed
    case "CertificateError":
      return ExitCode.InvalidCertificate
    default:
      return ExitCode.TaskFailed
  }
}

const tagOf = (value: unknown): string | undefined =>
  typeof value === "object" && value !== null && "_tag" in value && typeof value._tag === "string"
    ? value._tag
    : undefined

/** What the command line can do about an error that its own words, which know of none, leave open. */
const hint = (tag: string, reason: string | undefined): string =>
  tag === "KeyStoreError" && (reason === "PassphraseRequired" || reason === "WrongPassphrase")
    ? "\n  it is read from PARLEY_PASSPHRASE, or from the first line of --passphrase-file FILE"
    : ""

/** What is told about an error. */
export const tell = (error: unknown): Told => {
  if (error instanceof Named) return { ...tell(error.error), message: error.text }
  const tag = tagOf(error)
  const message = error instanceof Error ? error.message : String(error)
  if (tag === undefined) return { exitCode: ExitCode.Bug, code: "Bug", message }
  const reason = typeof error === "object" && error !== null && "reason" in error ? error.reason : undefined
  const own = typeof error === "object" && error !== null && "code" in error ? error.code : undefined
  const reasonTag = tagOf(reason)
  return {
    exitCode: exitCodeOf(tag, reasonTag ?? (typeof own === "string" ? own : undefined)),
    code: reasonTag ?? (typeof own === "string" ? own : tag),
    message: `${message}${hint(tag, reasonTag)}`,
    ...(reason === undefined ? {} : { reason })
  }
}

/** What is told about a failed run; `undefined` when it was only interrupted. */
export const tellCause = (cause: Cause.Cause<unknown>): Told | undefined => {
  if (Cause.hasInterruptsOnly(cause)) return undefined
  const failed = cause.reasons.find((reason) => reason._tag === "Fail")
  if (failed !== undefined) return tell(failed.error)
  return {
    exitCode: ExitCode.Bug,
    code: "Bug",
    message: `this is a mistake in parley; please report it\n${Cause.pretty(cause)}`
  }
}
