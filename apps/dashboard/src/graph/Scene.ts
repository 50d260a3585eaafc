/**
 * What is drawn of the mesh, whatever draws it: colour is status, size is trust, the ring is the share of its capacity at work.
 */
import { UndirectedGraph } from "graphology"
import { agents, edges, loads, nameOf } from "../state/Mesh.ts"
import { colour } from "../state/Theme.ts"
import { startLayout } from "./Layout.ts"

export interface NodeLook {
  x: number
  y: number
  size: number
  color: string
  label: string
  /** Whether its name is drawn even where that may cover another. */
  forceLabel: boolean
  /** Share of the radius that is ring, and its colour. */
  ring: number
  ringColor: string
  type: "border"
  [key: string]: unknown
}
export interface EdgeLook {
  size: number
  color: string
  pulse: number
  zIndex: number
  [key: string]: unknown
}
export type Mesh = UndirectedGraph<NodeLook, EdgeLook>

/** Up to so many agents are drawn larger, each with its name. */
const FEW = 30
/** Least width of what is drawn, in the layout's own units: two agents alone are not put into opposite corners. */
const LEAST_WIDTH = 24

/** What part of the plane is drawn: all agents, in the middle. */
export const boxOf = (graph: Mesh): { readonly x: [number, number]; readonly y: [number, number] } => {
  let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity]
  graph.forEachNode((_, { x, y }) => {
    left = Math.min(left, x)
    right = Math.max(right, x)
    top = Math.min(top, y)
    bottom = Math.max(bottom, y)
  })
  if (left > right) return { x: [0, 1], y: [0, 1] }
  const wide = Math.max(0, LEAST_WIDTH - (right - left)) / 2
  const high = Math.max(0, LEAST_WIDTH - (bottom - top)) / 2
  return { x: [left - wide, right + wide], y: [top - high, bottom + high] }
}

/** How long a pair that has just worked together is bright, in milliseconds. */
export const PULSE_MS = 1_200

/** What draws a scene. */
export interface Renderer {
  readonly kind: "webgl" | "canvas"
  /** Draws what has changed; `moved` where only positions have. */
  readonly refresh: () => void
  readonly zoom: (factor: number) => void
  readonly fit: () => void
  readonly emphasize: (id: string | undefined) => void
  readonly destroy: () => void
}

interface Palette {
  readonly healthy: string
  readonly degraded: string
  readonly offline: string
  readonly accent: string
  readonly ring: string
  readonly edge: string
  readonly failed: string
  readonly unknown: string
}

const mixed = (rgb: string, alpha: number): string => rgb.replace(/^rgb\(([^)]*)\)$/, `rgba($1, ${alpha})`)

export class Scene {
  readonly graph: Mesh = new UndirectedGraph<NodeLook, EdgeLook>()
  #palette: Palette
  readonly #layout: ReturnType<typeof startLayout>
  #generation = 0
  #order: ReadonlyArray<string> = []
  #asked = ""
  readonly #onMove: (settled: boolean) => void

  constructor(onMove: (settled: boolean) => void) {
    this.#onMove = onMove
    this.#palette = this.#readPalette()
    this.#layout = startLayout((answer) => {
      if (answer.generation !== this.#generation) return
      this.#order.forEach((id, i) => {
        if (!this.graph.hasNode(id)) return
        this.graph.mergeNodeAttributes(id, { x: answer.positions[2 * i]!, y: answer.positions[2 * i + 1]! })
      })
      this.#onMove(answer.settled)
    })
  }

  #readPalette(): Palette {
    return {
      healthy: colour("dot-healthy"),
      degraded: colour("dot-degraded"),
      offline: colour("dot-offline"),
      accent: colour("accent"),
      ring: colour("ring"),
      edge: colour("edge"),
      failed: colour("failed"),
      unknown: colour("line-strong")
    }
  }

  /** Takes the style sheet's colours again. */
  repaint(): void {
    this.#palette = this.#readPalette()
    this.update()
  }

  /** Takes what is known of the mesh now. */
  update(): void {
    const { graph } = this
    const ids = new Set(agents.keys())
    // Who is in traces and not registered has worked all the same.
    for (const { from, to } of edges.values()) {
      ids.add(from)
      ids.add(to)
    }
    for (const id of graph.nodes()) if (!ids.has(id)) graph.dropNode(id)
    const few = ids.size <= FEW
    const scale = ids.size <= 12 ? 2.5 : ids.size < 40 ? 2 : ids.size < 200 ? 1.4 : ids.size < 1_000 ? 1 : 0.7
    for (const id of ids) {
      const look = { ...this.#look(id, scale), forceLabel: few }
      if (graph.hasNode(id)) graph.mergeNodeAttributes(id, look)
      else graph.addNode(id, { x: Math.random(), y: Math.random(), ...look })
    }
    for (const [key, { from, tasks, to }] of edges) {
      const size = Math.min(4, 0.6 + Math.log2(1 + tasks) * 0.45) * Math.max(0.7, scale * 0.7)
      if (graph.hasEdge(key)) {
        if ((graph.getEdgeAttribute(key, "pulse") as number) === 0)
          graph.mergeEdgeAttributes(key, { size, color: this.#palette.edge })
      } else if (!graph.hasEdge(from, to))
        graph.addEdgeWithKey(key, from, to, { size, color: this.#palette.edge, pulse: 0, zIndex: 0 })
    }
    graph.forEachEdge((key) => {
      if (!edges.has(key)) graph.dropEdge(key)
    })
    this.#askLayout([...ids])
  }

  #look(id: string, scale: number) {
    const agent = agents.get(id)
    const load = loads.get(id) ?? 0
    if (agent === undefined) {
      const ringColor = this.#palette.unknown
      return {
        size: 3.5 * scale,
        color: mixed(ringColor, 0.35),
        ring: 0.3,
        ringColor,
        label: nameOf(id),
        type: "border" as const
      }
    }
    const base = this.#palette[agent.status]
    const used = Math.min(1, load / agent.manifest.max_concurrent_tasks)
    return {
      size: (3 + 6 * agent.trust_score + 2.5 * used) * scale,
      color: base,
      ring: used === 0 ? 0 : 0.12 + 0.38 * used,
      ringColor: used === 0 ? base : this.#palette.ring,
      label: agent.manifest.name || nameOf(id),
      type: "border" as const
    }
  }

  #askLayout(ids: ReadonlyArray<string>): void {
    const asked = `${ids.length} ${this.graph.size} ${ids.at(-1) ?? ""}`
    if (asked === this.#asked && ids.length === this.#order.length && ids.every((id, i) => id === this.#order[i]))
      return
    this.#asked = asked
    this.#order = ids
    this.#layout.ask({
      generation: ++this.#generation,
      ids,
      edges: [...edges.values()].map(({ from, tasks, to }) => [from, to, Math.log2(2 + tasks)] as const)
    })
  }

  /** Brightens a pair that has just worked together, for a while. */
  pulse(key: string, failed: boolean): void {
    if (!this.graph.hasEdge(key)) return
    this.graph.mergeEdgeAttributes(key, {
      pulse: performance.now() + PULSE_MS,
      color: failed ? this.#palette.failed : this.#palette.accent,
      zIndex: 1
    })
  }

  /** Lets pairs fade whose time is over; whether some are still bright. */
  fade(): boolean {
    const now = performance.now()
    let bright = false
    this.graph.forEachEdge((key, look) => {
      if (look.pulse === 0) return
      if (look.pulse > now) bright = true
      else this.graph.mergeEdgeAttributes(key, { pulse: 0, color: this.#palette.edge, zIndex: 0 })
    })
    return bright
  }

  destroy(): void {
    this.#layout.stop()
  }
}
