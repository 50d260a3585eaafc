/**
 * A Redis of a test's own (Debian: `redis-server`), which keeps nothing on the disk.
 *
 * ```ts
 * skipTest(Redis.unavailable)("…", async () => {
 *   const redis = await Redis.start()
 *   try { … redis.url … } finally { await redis.stop() }
 * })
 * ```
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Throwaway from "./Throwaway.ts"

const program = Throwaway.find("redis-server", ["/usr/bin", "/usr/local/bin"])

/** Why there can be no Redis here. */
export const unavailable: string | undefined = program === undefined ? "redis-server is not installed" : undefined

/** A Redis that runs. */
export interface Redis {
  /** `redis://127.0.0.1:PORT`; the same after `begin`. */
  readonly url: string
  readonly port: number
  /** Kills it (SIGKILL), as if its machine had failed: everything in it is gone. */
  readonly kill: () => Promise<void>
  /** Starts it again, empty, after `kill`. */
  readonly begin: () => Promise<void>
  /** Ends it for good. */
  readonly stop: () => Promise<void>
}

/** Starts a Redis, and resolves when it answers. */
export const start = async (): Promise<Redis> => {
  if (program === undefined) throw new Error(unavailable)
  const folder = mkdtempSync(join(tmpdir(), "parley-redis-"))
  const port = await Throwaway.freePort()
  const run = () =>
    Throwaway.start(
      [
        program,
        "--bind",
        "127.0.0.1",
        "--port",
        String(port),
        "--dir",
        folder,
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no"
      ],
      /Ready to accept connections/
    )
  let server: Throwaway.Running | undefined = await run()
  const kill = async () => {
    const ending = server
    server = undefined
    await ending?.end("SIGKILL")
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    kill,
    begin: async () => {
      server ??= await run()
    },
    stop: async () => {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
