/**
 * A process of its own for the key store's tests: `create PATH` prints the NodeId it ends up with, `replace PATH` rewrites
 * the file for ever with the seeds 1…1 and 2…2 in turn, printing a line each time, until it is killed.
 */
import * as Effect from "effect/Effect"
import * as Identity from "../src/Identity.ts"
import * as KeyStore from "../src/KeyStore.ts"

const [mode, path] = process.argv.slice(2)
if (mode === "create") {
  const seed = await Effect.runPromise(KeyStore.loadOrCreate(path!))
  console.log(Identity.fromSeed(seed).nodeId)
} else {
  for (let n = 1; ; n = 3 - n) {
    await Effect.runPromise(KeyStore.replace(path!, new Uint8Array(32).fill(n)))
    console.log(n)
  }
}
