/**
 * A PostgreSQL of a test's own (Debian: `postgresql`), in a temporary folder. It refuses to run as root, so that it runs as
 * `postgres` or `nobody` where the test is root.
 *
 * ```ts
 * skipTest(Postgres.unavailable)("…", async () => {
 *   const postgres = await Postgres.start()
 *   try { … await postgres.database() … } finally { await postgres.stop() }
 * })
 * ```
 */
import { execFile, execFileSync } from "node:child_process"
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import * as Throwaway from "./Throwaway.ts"

const debian = "/usr/lib/postgresql"
const folders = existsSync(debian)
  ? readdirSync(debian)
      .toSorted((a, b) => Number(b) - Number(a))
      .map((version) => join(debian, version, "bin"))
  : []
const [initdb, server, psql] = ["initdb", "postgres", "psql"].map((name) => Throwaway.find(name, folders))
const isRoot = process.getuid?.() === 0
const setpriv = Throwaway.find("setpriv")

/** Why there can be no PostgreSQL here. */
export const unavailable: string | undefined =
  initdb === undefined || server === undefined || psql === undefined
    ? "postgresql is not installed"
    : isRoot && setpriv === undefined
      ? "PostgreSQL does not run as root, and there is no setpriv"
      : undefined

const numericId = (flag: string, user: string): number | undefined => {
  try {
    return Number(execFileSync("id", [flag, user], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }))
  } catch {
    return undefined
  }
}

/** A PostgreSQL that runs. */
export interface Postgres {
  readonly port: number
  /** The process id of the server; 0 while there is none. */
  readonly pid: () => number
  /** Makes a database and gives its URL. */
  readonly database: () => Promise<string>
  /** Runs SQL as the superuser; gives what `psql` prints. */
  readonly sql: (url: string, sql: string) => Promise<string>
  /** Ends it: `SIGQUIT` and `SIGKILL` at once, as in a crash; `SIGINT` in order. What was committed stays. */
  readonly end: (signal?: NodeJS.Signals) => Promise<void>
  /** Starts it again, on the same port. */
  readonly begin: () => Promise<void>
  /** Ends it for good. */
  readonly stop: () => Promise<void>
}

/** Starts a PostgreSQL. It answers when this resolves. `durable`: with fsync, as in production; for measuring. */
export const start = async (options: { readonly durable?: boolean } = {}): Promise<Postgres> => {
  if (unavailable !== undefined || initdb === undefined || server === undefined || psql === undefined)
    throw new Error(unavailable)
  const folder = mkdtempSync(join(tmpdir(), "parley-postgres-"))
  const data = join(folder, "data")
  let as: ReadonlyArray<string> = []
  if (isRoot) {
    const user = ["postgres", "nobody"].find((name) => numericId("-u", name) !== undefined) ?? "nobody"
    const [uid, gid] = [numericId("-u", user) ?? 65_534, numericId("-g", user) ?? 65_534]
    chownSync(folder, uid, gid)
    as = [setpriv ?? "setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "--"]
  }
  const run = promisify(execFile)
  const [first = "", ...words] = [
    ...as,
    initdb,
    "--pgdata",
    data,
    "--username=parley",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--no-sync"
  ]
  await run(first, words, { cwd: "/" })
  const port = await Throwaway.freePort()
  const settings = [
    "listen_addresses=127.0.0.1",
    // It is asked by TCP alone, and a folder's path may be too long for a socket.
    "unix_socket_directories=",
    `fsync=${options.durable === true ? "on" : "off"}`,
    "max_connections=60",
    "shared_buffers=64MB"
  ]
  const serve = () =>
    Throwaway.start(
      [...as, server, "-D", data, "-p", String(port), ...settings.flatMap((setting) => ["-c", setting])],
      /database system is ready to accept connections/,
      "SIGQUIT"
    )
  let running: Throwaway.Running | undefined = await serve()
  const end = async (signal: NodeJS.Signals = "SIGQUIT") => {
    const ending = running
    running = undefined
    await ending?.end(signal)
  }
  const url = (name: string) => `postgres://parley@127.0.0.1:${port}/${name}`
  const sql = async (where: string, text: string) =>
    (await run(psql, ["--no-psqlrc", "--quiet", "-At", "-v", "ON_ERROR_STOP=1", "-d", where, "-c", text])).stdout
  let databases = 0
  return {
    port,
    pid: () => running?.pid ?? 0,
    sql,
    end,
    database: async () => {
      const name = `law${++databases}`
      await sql(url("postgres"), `CREATE DATABASE ${name}`)
      return url(name)
    },
    begin: async () => {
      running ??= await serve()
    },
    stop: async () => {
      await end()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
