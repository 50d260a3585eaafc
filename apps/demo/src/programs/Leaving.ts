/**
 * How a process of the demo ends: nothing stays behind. The folder in PARLEY_HOME was made for it, and goes with it.
 */
import { rmdirSync, rmSync } from "node:fs"
import { dirname } from "node:path"

/** Removes the folder when the process exits, and the one around it when it was the last. */
export const clean = (): void => {
  const home = process.env["PARLEY_HOME"]
  if (home === undefined) return
  process.on("exit", () => {
    try {
      rmSync(home, { recursive: true, force: true })
      rmdirSync(dirname(home))
    } catch {
      // Others are still in.
    }
  })
  // Whoever read it is gone; stdin says so too.
  process.stdout.on("error", () => undefined)
}
