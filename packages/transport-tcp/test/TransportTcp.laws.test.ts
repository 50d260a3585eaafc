/** Verifies: the laws of Transport over TCP, with and without a network key, and with each cipher. */
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Identity from "@parley/core/Identity"
import { suite } from "@parley/core/testing/TransportSuite"
import * as CipherSuite from "@parley/transport-tcp/CipherSuite"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import { skipTest } from "../../../test-support/Skip.ts"

const api = { describe, test, expect }

const direct = (options: TransportTcp.Options) =>
  Effect.sync(() => {
    const party = () => {
      const identity = Identity.generate()
      return {
        nodeId: identity.nodeId,
        transport: TransportTcp.make(identity, { host: "127.0.0.1", port: 0, ...options })
      }
    }
    return [party(), party()] as const
  })

for (const cipher of ["AESGCM", "ChaChaPoly"] as const) {
  const missing = CipherSuite.available().includes(cipher) ? undefined : `this runtime has no native ${cipher}`
  suite({ ...api, test: skipTest(missing) }, { name: `TCP, ${cipher}`, pair: direct({ ciphers: [cipher] }) })
}
suite(api, {
  name: "TCP, with a network key",
  pair: Effect.suspend(() => direct({ networkKey: new Uint8Array(32).fill(7) }))
})
