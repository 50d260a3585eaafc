/** `parley status --watch`: the mesh as it changes, until stopped. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { Matcher } from "@parley/core/Matcher"
import type * as Node from "@parley/core/Node"
import type { NodeId } from "@parley/core/NodeId"
import type * as Flags from "../Flags.ts"
import * as Joined from "../Joined.ts"
import * as MeshView from "../MeshView.ts"
import * as Output from "../Output.ts"
import * as Signals from "../Signals.ts"

/** How often is looked what changed: the eye sees no more. */
const LOOK = "200 millis"
/** Pause between searches for anybody; what discoveries tell by themselves comes at once. */
const SEARCH = "5 seconds"
/** Events that are kept for the bottom of the screen. */
const KEPT = 50

const view = (node: Node.Node["Service"], matcher: Matcher["Service"]): Effect.Effect<MeshView.View> =>
  Effect.map(node.peers, (peers) => {
    const seen = new Map<NodeId, MeshView.Member>()
    for (const record of matcher.records()) {
      if (record.node === node.nodeId) continue
      seen.set(record.node, {
        node: record.node,
        name: record.name ?? "",
        standing: "known",
        address: record.addresses[0] ?? "",
        capabilities: record.capabilities.map(({ name, version }) => `${name}@${version}`)
      })
    }
    for (const peer of peers) {
      const known = seen.get(peer.node)
      seen.set(peer.node, {
        node: peer.node,
        name: known?.name ?? peer.name ?? "",
        standing: peer.relayed ? "relayed" : "direct",
        address: peer.address,
        capabilities: known?.capabilities ?? peer.capabilities
      })
    }
    return seen
  })

const clockOf = (at: number): string => new Date(at).toTimeString().slice(0, 8)

/** The alternate screen, so that what stood there before stands there again afterwards. */
const screen = { open: "\u001b[?1049h\u001b[?25l", close: "\u001b[?25h\u001b[?1049l", home: "\u001b[H\u001b[J" }

/** Draws on the alternate screen, and leaves it also where a second Ctrl-C ends the process at once. */
const onScreen = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const leave = (): void => void process.stdout.write(screen.close)
  return Effect.acquireUseRelease(
    Effect.sync(() => {
      process.once("exit", leave)
      process.stdout.write(screen.open)
    }),
    () => effect,
    () =>
      Effect.sync(() => {
        process.off("exit", leave)
        leave()
      })
  )
}

export const run = Effect.fnUntraced(function* (options: Flags.Status & Flags.Common) {
  const isDrawn = process.stdout.isTTY === true && process.env["TERM"] !== "dumb" && !options.json
  const watch = (node: Node.Node["Service"]) =>
    Effect.gen(function* () {
      const matcher = yield* Matcher
      const stopped = yield* Signals.claim
      let before: MeshView.View = new Map()
      let drawn = ""
      const events: Array<string> = []
      const look = Effect.gen(function* () {
        const after = yield* view(node, matcher)
        const changes = MeshView.changes(before, after)
        const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        before = after
        if (options.json) {
          for (const change of changes) yield* Output.print(JSON.stringify(MeshView.json(change, now)))
          return
        }
        const told = changes.map((change) => `${clockOf(now)}  ${MeshView.line(change)}`)
        if (!isDrawn) return yield* Effect.forEach(told, Output.print, { discard: true })
        events.push(...told)
        events.splice(0, Math.max(0, events.length - KEPT))
        // A terminal that does not know its size says 0.
        const [columns, rows] = [process.stdout.columns || 80, process.stdout.rows || 24]
        const picture = MeshView.draw(`● ${Output.short(node.nodeId)}`, after, events, columns, rows).join("\n")
        // Another size is another screen, on which the terminal has moved the lines about.
        const shown = `${columns}x${rows} ${picture}`
        if (shown === drawn) return
        drawn = shown
        yield* Output.print(`${screen.home}${picture}`)
      })
      yield* Effect.forkScoped(
        Effect.ignore(node.discover({ limit: 1_000 })).pipe(Effect.repeat(Schedule.spaced(SEARCH)))
      )
      yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced(LOOK)))
      yield* stopped
    }).pipe(Effect.scoped)
  yield* isDrawn ? onScreen(Joined.asker(options, watch)) : Joined.asker(options, watch)
})
