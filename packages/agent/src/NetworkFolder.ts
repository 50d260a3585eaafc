/**
 * A private network as one of its members keeps it: a folder that only its owner can read.
 *
 * ```text
 * network.json      name, network key, the root's NodeId
 * identity.json     this member's key (KeyStore), apart from the keys that it has elsewhere
 * certificate       the root's certificate for that key, where there is a root
 * revocations.json  the newest list of those whom the root has put out
 * root.json         the root's key (KeyStore), on the one machine that keeps it
 * issued.json       beside it: whom it has certified, and until when
 * ```
 */
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { dirname, join } from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Identity from "@parley/core/Identity"
import * as KeyStore from "@parley/core/KeyStore"
import * as MemberCertificate from "@parley/core/MemberCertificate"
import * as Network from "@parley/core/Network"
import { NodeId } from "@parley/core/NodeId"
import * as Revocations from "@parley/core/Revocations"
import { FileError } from "./FileError.ts"
import * as PrivateFile from "./internal/PrivateFile.ts"
import * as Invitation from "./Invitation.ts"
import { NetworkError } from "./Invitation.ts"

/**
 * How often the folder is looked at for a list that another process has put there, in ms. A look costs microseconds, and holds on every
 * file system and however the folder was replaced, which events of a file system do not.
 */
export const LOOK_MS = 1_000
/** Certificates that a root remembers: those of more members than its list of revocations could name. */
export const MAX_ISSUED = 10_000
/** How long the key that a command acts under beside its member counts, in ms (24 h). */
export const DELEGATION_MS = MemberCertificate.MAX_DELEGATION_MS
/** Pause after a delegation could not be renewed, in ms: it is renewed at half its time, so that many attempts are left. */
export const RENEW_AGAIN_MS = 3_600_000

const Kept = Schema.Struct({
  v: Schema.Literal(1),
  name: Invitation.Invited.fields.name,
  key: Invitation.Invited.fields.key,
  root: Schema.optionalKey(NodeId)
})
const Issued = Schema.Array(Schema.Struct({ node: NodeId, until: Schema.Natural })).check(
  Schema.isMaxLength(MAX_ISSUED)
)

const files = {
  network: { what: "network", maxBytes: 4_096, secret: true },
  certificate: { what: "member certificate", maxBytes: 4_096, secret: true },
  revocations: { what: "revocations", maxBytes: Revocations.MAX_REVOCATIONS_BYTES, secret: true },
  issued: { what: "issued certificates", maxBytes: 4 * 1024 * 1024, secret: true },
  opener: { what: "request", maxBytes: 1_024, secret: true }
} satisfies { readonly [name: string]: PrivateFile.Kind }

/** Opens or seals the keys of a folder. */
export interface Options {
  readonly passphrase?: Redacted.Redacted<string> | undefined
}

type Failure = FileError | KeyStore.KeyStoreError | NetworkError

const attempt = <A>(path: string, kind: PrivateFile.Kind, op: string, run: () => A) =>
  Effect.try({
    try: run,
    catch: (cause): FileError | NetworkError =>
      cause instanceof NetworkError ? cause : PrivateFile.failed(path, kind, op, cause)
  })

const keyOptions = ({ passphrase }: Options): KeyStore.Options => (passphrase === undefined ? {} : { passphrase })

const readJson = <A>(path: string, kind: PrivateFile.Kind, schema: Schema.Codec<A, unknown>): A => {
  const read = Schema.decodeResult(Schema.fromJsonString(schema))(PrivateFile.read(path, kind).toString("utf8"))
  if (read._tag === "Success") return read.success
  const detail = "it is not what this version writes there; restore it, or join the network again"
  throw new FileError({ path, what: kind.what, code: "Malformed", detail })
}

const isThere = (path: string): boolean => fs.existsSync(PrivateFile.expand(path))

const identityOf = (
  path: string,
  options: Options
): Effect.Effect<Identity.Identity["Service"], KeyStore.KeyStoreError> =>
  Effect.map(KeyStore.load(path, keyOptions(options)), (seed) => {
    const identity = Identity.fromSeed(seed)
    seed.fill(0)
    return identity
  })

const made = (path: string, options: Options) =>
  Effect.andThen(
    Effect.asVoid(KeyStore.loadOrCreate(path, keyOptions(options))),
    Effect.suspend(() => identityOf(path, options))
  )

const checkName = (name: string): Effect.Effect<void, NetworkError> =>
  Invitation.NAME_PATTERN.test(name)
    ? Effect.void
    : Effect.fail(
        new NetworkError({
          code: "BadName",
          detail: `${JSON.stringify(name)} is no name for a network: up to 63 of a-z, 0-9, ".", "_" and "-", such as ward-7`
        })
      )

const write = (folder: string, invited: Omit<Invitation.Invited, "v">) =>
  attempt(folder, files.network, "create", () => {
    const { certificate, key, name, revocations, root } = invited
    if (certificate !== undefined)
      PrivateFile.replace(join(folder, "certificate"), `${certificate}\n`, files.certificate)
    if (revocations !== undefined)
      PrivateFile.replace(join(folder, "revocations.json"), `${JSON.stringify(revocations)}\n`, files.revocations)
    const kept = { v: 1, name, key, ...(root === undefined ? {} : { root }) }
    PrivateFile.create(join(folder, "network.json"), `${JSON.stringify(kept)}\n`, files.network)
  })

/** What a network's maker is told. */
export interface Made {
  readonly name: string
  readonly folder: string
  readonly node: NodeId
  readonly root: NodeId | undefined
}

/**
 * Makes a network with a new key in `<networks>/<name>`, and this machine its first member. With a root, members are certified one by
 * one, and can be put out one by one. Never replaces a network.
 */
export const init = Effect.fn("NetworkFolder.init")(function* (
  networks: string,
  name: string,
  { root: hasRoot = true, ...options }: Options & { readonly root?: boolean } = {}
): Effect.fn.Return<Made, Failure> {
  yield* checkName(name)
  const folder = join(PrivateFile.expand(networks), name)
  if (isThere(join(folder, "network.json"))) {
    const detail = "there is such a network already; choose another name"
    return yield* new FileError({ path: folder, what: "network", code: "Exists", detail })
  }
  const identity = yield* made(join(folder, "identity.json"), options)
  const root = hasRoot ? yield* made(join(folder, "root.json"), options) : undefined
  const key = randomBytes(32).toString("hex")
  if (root === undefined) yield* write(folder, { name, key })
  else {
    const [network, issuedAt] = [MemberCertificate.networkId(root.nodeId, name), yield* Clock.currentTimeMillis]
    const certificate = MemberCertificate.issue(root, network, {
      member: identity.nodeId,
      issuedAt,
      // The root's own machine can sign itself a new one at any time.
      expiresAt: issuedAt + MemberCertificate.MAX_LIFETIME_MS
    })
    yield* write(folder, { name, key, root: root.nodeId, certificate: Buffer.from(certificate).toString("base64url") })
  }
  return { name, folder, node: identity.nodeId, root: root?.nodeId }
})

const joining = (networks: string): string => join(PrivateFile.expand(networks), ".joining")

/** The request of this machine to be let into a network, the same one until it has been answered. */
export const ask = Effect.fn("NetworkFolder.ask")(function* (
  networks: string,
  options: Options = {}
): Effect.fn.Return<{ readonly request: string; readonly node: NodeId }, Failure> {
  const folder = joining(networks)
  const identity = yield* made(join(folder, "identity.json"), options)
  const path = join(folder, "opener")
  const opener = yield* attempt(path, files.opener, "create", () => {
    if (!isThere(path))
      PrivateFile.create(path, `${Buffer.from(Invitation.makeOpener()).toString("hex")}\n`, files.opener)
    return readOpener(path)
  })
  return { request: Invitation.request(identity, opener), node: identity.nodeId }
})

const readOpener = (path: string): Uint8Array => {
  const text = PrivateFile.read(path, files.opener).toString("utf8").trim()
  if (/^[0-9a-f]{64}$/.test(text)) return new Uint8Array(Buffer.from(text, "hex"))
  const detail = `it is not what parley join writes there: remove ${dirname(path)}, and ask anew`
  throw new FileError({ path, what: files.opener.what, code: "Malformed", detail })
}

/** Joins the network that an invitation is for, and forgets how to open it. */
export const accept = Effect.fn("NetworkFolder.accept")(function* (
  networks: string,
  invitation: string,
  options: Options = {}
): Effect.fn.Return<Made, Failure> {
  const pending = joining(networks)
  if (!isThere(join(pending, "opener"))) {
    const detail =
      "this machine has not asked for an invitation, or has joined with it: print a request with parley join, and have that answered"
    return yield* new NetworkError({ code: "NotForThisNode", detail })
  }
  const identity = yield* identityOf(join(pending, "identity.json"), options)
  const opener = yield* attempt(pending, files.opener, "read", () => readOpener(join(pending, "opener")))
  const invited = Invitation.open(invitation, identity.nodeId, opener)
  if (invited instanceof NetworkError) return yield* invited
  const { certificate, name, revocations, root } = invited
  if (root !== undefined) {
    const of = { network: MemberCertificate.networkId(root, name), root }
    const bytes = certificate === undefined ? undefined : new Uint8Array(Buffer.from(certificate, "base64url"))
    const read = MemberCertificate.verify(bytes, of, identity.publicKey, yield* Clock.currentTimeMillis)
    if ("code" in read) return yield* new NetworkError({ code: "BadInvitation", detail: read.detail })
    const list = revocations === undefined ? undefined : Revocations.read(revocations, of)
    if (typeof list === "string") return yield* new NetworkError({ code: "BadInvitation", detail: `its list: ${list}` })
  }
  const folder = join(PrivateFile.expand(networks), name)
  if (isThere(join(folder, "network.json"))) {
    const detail = `this machine is a member of a network of that name already: remove ${folder} to join anew`
    return yield* new FileError({ path: folder, what: "network", code: "Exists", detail })
  }
  yield* write(pending, invited)
  yield* attempt(folder, files.network, "create", () => {
    // A folder without a network in it is what an interrupted attempt has left.
    fs.rmSync(folder, { recursive: true, force: true })
    fs.rmSync(join(pending, "opener"), { force: true })
    fs.renameSync(pending, folder)
  })
  return { name, folder, node: identity.nodeId, root }
})

/** The list that is kept, as the root has signed it. */
const readRevocations = (folder: string, of: MemberCertificate.NetworkOf): Revocations.Revocations | undefined => {
  const path = join(folder, "revocations.json")
  if (!isThere(path)) return undefined
  const list = Revocations.read(readJson(path, files.revocations, Schema.Unknown), of)
  if (typeof list !== "string") return list
  const detail = `${list}; put the newest list of this network there, or remove it: members tell it again`
  throw new FileError({ path, what: files.revocations.what, code: "Malformed", detail })
}

const readNetwork = (folder: string) =>
  attempt(join(folder, "network.json"), files.network, "read", () =>
    readJson(join(folder, "network.json"), files.network, Kept)
  )

const noRoot = (name: string, to: string) =>
  new NetworkError({
    code: "NoRoot",
    detail: `the key of ${name}'s root is not on this machine, and only the root can ${to}: do it where the network was made`
  })

const rootOf = Effect.fnUntraced(function* (folder: string, to: string, options: Options) {
  const network = yield* readNetwork(folder)
  if (network.root === undefined) {
    const detail = `${network.name} has no root: nobody can be put out but by a new network with a new key`
    return yield* new NetworkError({ code: "NoRoot", detail })
  }
  if (!isThere(join(folder, "root.json"))) return yield* noRoot(network.name, to)
  const root = yield* identityOf(join(folder, "root.json"), options)
  if (root.nodeId !== network.root) return yield* noRoot(network.name, to)
  return { ...network, root, id: MemberCertificate.networkId(root.nodeId, network.name) }
})

const issuedPath = (folder: string): string => join(folder, "issued.json")
const readIssued = (folder: string): typeof Issued.Type =>
  isThere(issuedPath(folder)) ? readJson(issuedPath(folder), files.issued, Issued) : []

/** Answers a request: the network key, and with a root a certificate, sealed for who asked. */
export const invite = Effect.fn("NetworkFolder.invite")(function* (
  folder: string,
  text: string,
  { lifetimeMs = MemberCertificate.DEFAULT_LIFETIME_MS, ...options }: Options & { readonly lifetimeMs?: number } = {}
): Effect.fn.Return<
  { readonly invitation: string; readonly node: NodeId; readonly expiresAt: number | undefined },
  Failure
> {
  const request = Invitation.readRequest(text)
  if (request instanceof NetworkError) return yield* request
  const { node } = request
  const network = yield* readNetwork(folder)
  const invited = { v: 1 as const, name: network.name, key: network.key }
  if (network.root === undefined) return { invitation: Invitation.seal(request, invited), node, expiresAt: undefined }
  if (!(lifetimeMs > 0) || lifetimeMs > MemberCertificate.MAX_LIFETIME_MS)
    return yield* new NetworkError({
      code: "BadTime",
      detail: "a certificate counts for a moment at least, and for ten years at most"
    })
  const { id, root } = yield* rootOf(folder, "let somebody in", options)
  return yield* attempt(issuedPath(folder), files.issued, "write", () => {
    const now = Date.now()
    const revocations = readRevocations(folder, { network: id, root: root.nodeId })
    if (revocations?.revoked.some((one) => one.node === node) === true)
      throw new NetworkError({
        code: "Revoked",
        detail: `${node} has been put out of ${network.name}: it can come back with a new key only`
      })
    const expiresAt = Math.floor(now + lifetimeMs)
    const certificate = MemberCertificate.issue(root, id, { member: node, issuedAt: now, expiresAt })
    const issued = [...readIssued(folder).filter(({ until }) => until > now), { node, until: expiresAt }]
    PrivateFile.replace(issuedPath(folder), `${JSON.stringify(issued.slice(-MAX_ISSUED))}\n`, files.issued)
    const invitation = Invitation.seal(request, {
      ...invited,
      root: root.nodeId,
      certificate: Buffer.from(certificate).toString("base64url"),
      ...(revocations === undefined ? {} : { revocations })
    })
    return { invitation, node, expiresAt }
  })
})

/** Puts a member out: the root's next list of revocations, written into the folder, from where running members spread it. */
export const revoke = Effect.fn("NetworkFolder.revoke")(function* (
  folder: string,
  node: NodeId,
  options: Options = {}
): Effect.fn.Return<Revocations.Revocations, Failure> {
  const { id, root } = yield* rootOf(folder, "put somebody out", options)
  return yield* attempt(join(folder, "revocations.json"), files.revocations, "write", () => {
    const now = Date.now()
    // One whose certificate is not remembered is out for as long as any could count.
    const until = readIssued(folder).flatMap((one) => (one.node === node ? [one.until] : []))
    const last = until.length === 0 ? now + MemberCertificate.MAX_LIFETIME_MS : Math.max(...until)
    const known = readRevocations(folder, { network: id, root: root.nodeId })
    const list = Revocations.revoke(root, id, known, node, last, now)
    PrivateFile.replace(join(folder, "revocations.json"), `${JSON.stringify(list)}\n`, files.revocations)
    return list
  })
})

/** Takes over a list of revocations that was carried here; whether it is newer than what was known. */
export const takeOver = Effect.fn("NetworkFolder.takeOver")(function* (
  folder: string,
  text: string
): Effect.fn.Return<boolean, Failure> {
  const network = yield* readNetwork(folder)
  const { root } = network
  if (root === undefined) return yield* noRoot(network.name, "put somebody out")
  const of = { network: MemberCertificate.networkId(root, network.name), root }
  return yield* attempt(join(folder, "revocations.json"), files.revocations, "write", () => {
    const members = new Network.Members({
      ...of,
      certificate: new Uint8Array(0),
      revocations: readRevocations(folder, of),
      save: (list) => save(folder, of, list)
    })
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      value = undefined
    }
    const list = Revocations.read(value, of)
    if (typeof list === "string")
      throw new NetworkError({ code: "BadList", detail: `the list does not count: ${list}` })
    return members.learn(text)
  })
})

/** Keeps a list, unless another process has kept a newer one. Throws where the folder is away, rather than make another one. */
const save = (folder: string, of: MemberCertificate.NetworkOf, list: Revocations.Revocations): void => {
  fs.accessSync(join(folder, "network.json"))
  if (Revocations.isNewer(list, readRevocations(folder, of)))
    PrivateFile.replace(join(folder, "revocations.json"), `${JSON.stringify(list)}\n`, files.revocations)
}

/** The network's key. */
export const keyOf = (folder: string): Effect.Effect<Uint8Array, FileError | NetworkError> =>
  Effect.map(readNetwork(folder), ({ key }) => new Uint8Array(Buffer.from(key, "hex")))

/** A network, opened for one of its nodes. */
export interface Opened {
  readonly name: string
  readonly key: Uint8Array
  /** Who this node is: the member itself, or the key given. */
  readonly identity: Identity.Identity["Service"]
  /** Where there is a root. Closed by the scope in which `watch` runs. */
  readonly members: Network.Members | undefined
  /**
   * Looks for lists that other processes put into the folder, keeps what could not be kept at once, and renews the delegation of a node
   * with a key of its own, until it is interrupted. What goes wrong is logged, and tried again.
   */
  readonly watch: Effect.Effect<never>
}

/** Tells a file from every other that has been there, also from itself under another mode. */
const stampOf = (path: string): string => {
  const stat = fs.statSync(path, { throwIfNoEntry: false })
  return stat === undefined ? "" : `${stat.ino} ${stat.ctimeMs} ${stat.size}`
}

/** Opens a network's folder for a node; with a key of its own, that acts for the member for a day, and on for as long as `watch` runs. */
export const open = Effect.fn("NetworkFolder.open")(function* (
  path: string,
  own: Identity.Identity["Service"] | undefined,
  options: Options = {}
): Effect.fn.Return<Opened, Failure> {
  const folder = PrivateFile.expand(path)
  const network = yield* readNetwork(folder)
  const member = yield* identityOf(join(folder, "identity.json"), options)
  const identity = own ?? member
  const { name, root } = network
  const key = new Uint8Array(Buffer.from(network.key, "hex"))
  if (root === undefined) return { name, key, identity, members: undefined, watch: Effect.never }
  const of = { network: MemberCertificate.networkId(root, name), root }
  const certificatePath = join(folder, "certificate")
  const listPath = join(folder, "revocations.json")
  const isMember = identity.nodeId === member.nodeId
  /** What the node shows from now on. */
  const shown = (now: number): Uint8Array => {
    const text = PrivateFile.read(certificatePath, files.certificate).toString("utf8").trim()
    const certificate = new Uint8Array(Buffer.from(text, "base64url"))
    const read = MemberCertificate.verify(certificate, of, member.publicKey, now)
    if ("code" in read)
      throw new FileError({ path: certificatePath, what: "member certificate", code: "Malformed", detail: read.detail })
    const to = { node: identity.nodeId, expiresAt: now + DELEGATION_MS }
    return isMember ? certificate : MemberCertificate.delegate(member, certificate, to)
  }
  const began = yield* Clock.currentTimeMillis
  let unsaved: Revocations.Revocations | undefined
  const members = yield* attempt(
    certificatePath,
    files.certificate,
    "read",
    () =>
      new Network.Members({
        ...of,
        certificate: shown(began),
        revocations: readRevocations(folder, of),
        save: (list) => {
          try {
            save(folder, of, list)
            unsaved = undefined
          } catch {
            // It holds in this process all the same; `watch` tries again, and says why it does not go.
            unsaved = list
          }
        }
      })
  )

  /** One part of the watch: what it throws is said once, until it succeeds or says something else. */
  const part = (path: string, kind: PrivateFile.Kind, op: string, run: (now: number) => void): Effect.Effect<void> => {
    let told = ""
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      try {
        run(now)
        told = ""
        return Effect.void
      } catch (cause) {
        const { message } = PrivateFile.failed(path, kind, op, cause)
        if (message === told) return Effect.void
        told = message
        return Effect.logWarning(message)
      }
    })
  }
  let seen = ""
  const learn = part(listPath, files.revocations, "read", () => {
    const stamp = stampOf(listPath)
    if (stamp === seen) return
    if (stamp !== "") members.learn(PrivateFile.read(listPath, files.revocations).toString("utf8"))
    // Only now: what could not be read is looked at again.
    seen = stamp
  })
  const keep = part(listPath, files.revocations, "write", () => {
    if (unsaved === undefined) return
    save(folder, of, unsaved)
    unsaved = undefined
  })
  let renewAt = isMember ? Number.POSITIVE_INFINITY : began + DELEGATION_MS / 2
  const renew = part(certificatePath, files.certificate, "read", (now) => {
    if (now < renewAt) return
    renewAt = now + RENEW_AGAIN_MS
    members.renew(shown(now))
    renewAt = now + DELEGATION_MS / 2
  })
  const look = Effect.all([learn, keep, renew], { discard: true })
  return { name, key, identity, members, watch: Effect.forever(Effect.andThen(look, Effect.sleep(LOOK_MS))) }
})

/** The names of the networks in a folder of networks. */
export const list = (networks: string): ReadonlyArray<string> => {
  const folder = PrivateFile.expand(networks)
  try {
    return fs.readdirSync(folder).filter((name) => !name.startsWith(".") && isThere(join(folder, name, "network.json")))
  } catch {
    return []
  }
}
