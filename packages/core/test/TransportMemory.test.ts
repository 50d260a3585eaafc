/** Verifies: the laws of Transport over connections within one process, and that a node which goes hands over what it sent. */
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Identity from "@parley/core/Identity"
import { type Owner, WINDOW_BYTES } from "@parley/core/Transport"
import * as TransportMemory from "@parley/core/TransportMemory"
import { suite } from "@parley/core/testing/TransportSuite"

suite(
  { describe, test, expect },
  {
    name: "memory",
    pair: Effect.sync(() => {
      const hub = TransportMemory.makeHub()
      const party = () => {
        const { nodeId } = Identity.generate()
        return { nodeId, transport: TransportMemory.make(nodeId, hub) }
      }
      return [party(), party()] as const
    })
  }
)

test("a node that goes has handed over all that waited for a peer's window", async () => {
  const hub = TransportMemory.makeHub()
  const scopes = [Scope.makeUnsafe(), Scope.makeUnsafe()] as const
  const bytes = new Uint8Array(WINDOW_BYTES)
  let answering = 0
  const node = async (scope: Scope.Closeable) => {
    const { nodeId } = Identity.generate()
    const transport = TransportMemory.make(nodeId, hub)
    const owner: Owner = {
      nodeId,
      onConnection: () => {},
      onStream: (_connection, _protocol, stream) => ({
        onMessage: () => {
          answering += 1
          for (let n = 0; n < 3; n++) stream.send(bytes, undefined, n === 2)
        },
        onWritable: () => {},
        onClosed: () => {}
      }),
      onClosed: () => {},
      onRefused: () => {},
      onAddresses: () => {},
      connect: () => Effect.die("not asked for"),
      handle: () => Effect.void
    }
    const [address] = await Effect.runPromise(transport.listen(owner).pipe(Scope.provide(scope)))
    return { transport, address: address! }
  }
  const [ada, bob] = [await node(scopes[0]), await node(scopes[1])]
  const connection = await Effect.runPromise(bob.transport.dial(ada.address, undefined))
  let got = 0
  const asked = Array.from({ length: 4 }, () => {
    const stream = connection.open(200, {
      onMessage: (message) => void (got += message.length),
      onWritable: () => {},
      onClosed: () => {}
    })!
    stream.pause()
    stream.send(bytes.subarray(0, 1), undefined, true)
    return stream
  })
  while (answering < asked.length) await new Promise((resolve) => setTimeout(resolve, 1))
  expect(got).toBeLessThan(asked.length * 3 * bytes.length)
  // From here on the caller takes everything.
  const gone = Effect.runPromise(Scope.close(scopes[0], Exit.void))
  for (const stream of asked) stream.resume()
  await gone
  expect(got).toBe(asked.length * 3 * bytes.length)
  await Effect.runPromise(Scope.close(scopes[1], Exit.void))
})
