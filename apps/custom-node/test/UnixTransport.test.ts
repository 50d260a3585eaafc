/** Verifies: the laws of Transport over a transport that was written against `@parley/core` alone. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Identity from "@parley/core/Identity"
import { suite } from "@parley/core/testing/TransportSuite"
import * as UnixTransport from "../src/plugins/UnixTransport.ts"

suite(
  { describe, test, expect },
  {
    name: "Unix sockets",
    pair: Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "parley-"))),
        (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
      ),
      (folder) => {
        const party = () => {
          const identity = Identity.generate()
          return { nodeId: identity.nodeId, transport: UnixTransport.make(identity, { folder }) }
        }
        return [party(), party()] as const
      }
    )
  }
)
