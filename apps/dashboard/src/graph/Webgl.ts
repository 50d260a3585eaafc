/** Draws a scene with WebGL (sigma): thousands of agents at the screen's own rate. */
import { createNodeBorderProgram } from "@sigma/node-border"
import { Sigma } from "sigma"
import { calm, colour } from "../state/Theme.ts"
import { boxOf, type EdgeLook, type NodeLook, type Renderer, type Scene } from "./Scene.ts"

const program = createNodeBorderProgram<NodeLook, EdgeLook>({
  borders: [
    { size: { attribute: "ring", defaultValue: 0 }, color: { attribute: "ringColor" } },
    { size: { fill: true }, color: { attribute: "color" } }
  ]
})

/** Whether this browser has WebGL 2. */
export const hasWebgl = (): boolean => {
  try {
    const context = document.createElement("canvas").getContext("webgl2")
    context?.getExtension("WEBGL_lose_context")?.loseContext()
    return context !== null
  } catch {
    return false
  }
}

export const makeWebgl = (
  host: HTMLElement,
  scene: Scene,
  on: { readonly open: (id: string) => void; readonly hover: (id: string | undefined) => void }
): Renderer => {
  let emphasized: string | undefined
  let near = new Set<string>()
  const motion = calm() ? 0 : 250
  const sigma = new Sigma<NodeLook, EdgeLook>(scene.graph, host, {
    allowInvalidContainer: true,
    defaultNodeType: "border",
    nodeProgramClasses: { border: program },
    renderEdgeLabels: false,
    labelFont: "system-ui, sans-serif",
    labelSize: 12,
    labelWeight: "500",
    labelDensity: 0.6,
    labelGridCellSize: 110,
    labelRenderedSizeThreshold: 7,
    labelColor: { color: colour("soft") },
    zIndex: true,
    minCameraRatio: 0.02,
    maxCameraRatio: 3,
    // Names stand beside agents, and buttons above the picture.
    stagePadding: 72,
    nodeReducer: (id, look) =>
      emphasized === undefined || near.has(id)
        ? id === emphasized
          ? { ...look, highlighted: true, zIndex: 2 }
          : look
        : { ...look, color: colour("line-strong"), ring: 0, ringColor: colour("line-strong"), label: null },
    edgeReducer: (key, look) => {
      if (emphasized === undefined) return look
      const [from, to] = scene.graph.extremities(key)
      return from === emphasized || to === emphasized
        ? { ...look, color: colour("accent"), zIndex: 1 }
        : { ...look, hidden: true }
    },
    defaultDrawNodeHover: (context, look, settings) => {
      const size = settings.labelSize
      const label = look.label ?? ""
      context.font = `600 ${size}px ${settings.labelFont}`
      const wide = context.measureText(label).width
      const x = look.x + look.size + 5
      context.fillStyle = colour("raised")
      context.strokeStyle = colour("line-strong")
      context.lineWidth = 1
      context.beginPath()
      context.roundRect(x - 3, look.y - size / 2 - 5, wide + 12, size + 10, 5)
      context.fill()
      context.stroke()
      context.beginPath()
      context.arc(look.x, look.y, look.size + 3, 0, Math.PI * 2)
      context.strokeStyle = colour("accent")
      context.lineWidth = 2
      context.stroke()
      context.fillStyle = colour("text")
      context.fillText(label, x + 3, look.y + size / 3)
    }
  })
  const emphasize = (id: string | undefined): void => {
    if (id === emphasized || (id !== undefined && !scene.graph.hasNode(id))) return
    emphasized = id
    near = id === undefined ? new Set() : new Set([id, ...scene.graph.neighbors(id)])
    sigma.refresh({ skipIndexation: true })
  }
  sigma.on("enterNode", ({ node }) => {
    host.style.cursor = "pointer"
    emphasize(node)
    on.hover(node)
  })
  sigma.on("leaveNode", () => {
    host.style.cursor = ""
    emphasize(undefined)
    on.hover(undefined)
  })
  sigma.on("clickNode", ({ node }) => on.open(node))
  return {
    kind: "webgl",
    refresh: () => {
      sigma.setSetting("labelColor", { color: colour("soft") })
      sigma.setCustomBBox(boxOf(scene.graph))
      sigma.scheduleRefresh()
    },
    zoom: (factor) => {
      const camera = sigma.getCamera()
      void camera.animate({ ratio: camera.ratio / factor }, { duration: motion })
    },
    fit: () => void sigma.getCamera().animatedReset({ duration: motion }),
    emphasize,
    destroy: () => sigma.kill()
  }
}
