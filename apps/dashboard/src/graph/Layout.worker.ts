/**
 * Where agents are drawn: ForceAtlas2, away from the page's thread. Keeps positions by id, so that a mesh that changes does not jump.
 */
import { UndirectedGraph } from "graphology"
import forceAtlas2 from "graphology-layout-forceatlas2"
import type { LayoutQuestion, LayoutAnswer } from "./Layout.ts"

/** Iterations after a change, at most: by then nothing moves that anyone would see. */
const MAX_ITERATIONS = 600
/** Iterations between two looks at the clock. */
const SLICE = 4
/** Positions are told at most this often, in milliseconds. */
const TELL_MS = 50
/** Mean movement per iteration, as a share of the mesh's width, below which it has settled. */
const SETTLED = 0.00006

/** Up to so many agents are held together by a spring to the middle: parts that do not touch stay near each other. */
const FEW = 300
/** The spring's strength, such that the lonely stand about as far off as two that work together stand apart. */
const SPRING = 0.5

const graph = new UndirectedGraph()
let order: ReadonlyArray<string> = []
let left = 0
let running = false
let told = 0
let generation = 0

/** Sunflower seeds: even from the start, and the same each time. */
const seat = (index: number) => {
  const angle = index * 2.399963229728653
  const radius = 12 * Math.sqrt(index + 0.5)
  return { x: Math.cos(angle) * radius, y: Math.sin(angle) * radius }
}

const tell = (settled: boolean): void => {
  told = performance.now()
  const positions = new Float32Array(order.length * 2)
  order.forEach((id, i) => {
    positions[2 * i] = graph.getNodeAttribute(id, "x") as number
    positions[2 * i + 1] = graph.getNodeAttribute(id, "y") as number
  })
  self.postMessage({ generation, positions, settled } satisfies LayoutAnswer, { transfer: [positions.buffer] })
}

const movement = (before: ReadonlyArray<number>): number => {
  let moved = 0
  let widest = 1
  order.forEach((id, i) => {
    const { x, y } = graph.getNodeAttributes(id) as { x: number; y: number }
    moved += Math.abs(x - before[2 * i]!) + Math.abs(y - before[2 * i + 1]!)
    widest = Math.max(widest, Math.abs(x), Math.abs(y))
  })
  return moved / Math.max(1, order.length) / widest / SLICE
}

const run = (): void => {
  if (left <= 0 || order.length < 2) {
    running = false
    tell(true)
    return
  }
  const before = order.flatMap((id) => {
    const { x, y } = graph.getNodeAttributes(id) as { x: number; y: number }
    return [x, y]
  })
  forceAtlas2.assign(graph, {
    iterations: SLICE,
    getEdgeWeight: "weight",
    settings: {
      barnesHutOptimize: order.length > FEW,
      barnesHutTheta: 0.8,
      strongGravityMode: order.length <= FEW,
      gravity: order.length > FEW ? 0.6 : SPRING,
      scalingRatio: 12,
      slowDown: 4 + Math.log(order.length + 1),
      linLogMode: false,
      edgeWeightInfluence: 0.4,
      adjustSizes: false
    }
  })
  left -= SLICE
  if (movement(before) < SETTLED) left = 0
  if (left > 0 && performance.now() - told > TELL_MS) tell(false)
  setTimeout(run, 0)
}

self.addEventListener("message", ({ data }: MessageEvent<LayoutQuestion>) => {
  generation = data.generation
  const wanted = new Set(data.ids)
  let changes = 0
  for (const id of graph.nodes()) {
    if (wanted.has(id)) continue
    graph.dropNode(id)
    changes++
  }
  data.ids.forEach((id, index) => {
    if (graph.hasNode(id)) return
    graph.addNode(id, seat(index))
    changes++
  })
  for (const [from, to, weight] of data.edges) {
    const edge = graph.edge(from, to)
    if (edge !== undefined) graph.setEdgeAttribute(edge, "weight", weight)
    else if (graph.hasNode(from) && graph.hasNode(to)) {
      graph.addEdge(from, to, { weight })
      changes++
    }
  }
  order = data.ids
  if (changes === 0) return tell(!running)
  // A few newcomers need less than a whole mesh.
  left = Math.max(left, changes > order.length / 20 ? MAX_ITERATIONS : MAX_ITERATIONS / 5)
  if (!running) {
    running = true
    run()
  }
})
