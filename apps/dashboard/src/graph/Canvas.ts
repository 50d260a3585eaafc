/** Draws a scene where there is no WebGL: slower, and the same picture. */
import { colour } from "../state/Theme.ts"
import { boxOf, type Renderer, type Scene } from "./Scene.ts"

/** Above this many agents names are not drawn: they would cover each other. */
const MAX_NAMES = 80
/** Room around what is drawn, for names and what lies above the picture, in pixels. */
const MARGIN = 72

export const makeCanvas = (
  host: HTMLElement,
  scene: Scene,
  on: { readonly open: (id: string) => void; readonly hover: (id: string | undefined) => void }
): Renderer => {
  const canvas = document.createElement("canvas")
  host.append(canvas)
  const context = canvas.getContext("2d")!
  let emphasized: string | undefined
  let zoom = 1
  let pan = { x: 0, y: 0 }
  let frame = 0

  const view = () => {
    const {
      x: [left, right],
      y: [top, bottom]
    } = boxOf(scene.graph)
    const { clientHeight: height, clientWidth: width } = host
    const scale = Math.min((width - 2 * MARGIN) / (right - left), (height - 2 * MARGIN) / (bottom - top)) * zoom
    const middle = { x: (left + right) / 2, y: (top + bottom) / 2 }
    return {
      width,
      height,
      place: ({ x, y }: { readonly x: number; readonly y: number }) => ({
        x: (x - middle.x) * scale + width / 2 + pan.x,
        y: (middle.y - y) * scale + height / 2 + pan.y
      })
    }
  }

  const draw = (): void => {
    frame = 0
    const { height, place, width } = view()
    const ratio = devicePixelRatio
    canvas.width = width * ratio
    canvas.height = height * ratio
    canvas.style.width = `${width}px`
    canvas.style.height = `${height}px`
    context.scale(ratio, ratio)
    scene.graph.forEachEdge((_, look, from, to, a, b) => {
      const own = from === emphasized || to === emphasized
      if (emphasized !== undefined && !own) return
      const [start, end] = [place(a), place(b)]
      context.strokeStyle = own ? colour("accent") : look.color
      context.lineWidth = look.size
      context.beginPath()
      context.moveTo(start.x, start.y)
      context.lineTo(end.x, end.y)
      context.stroke()
    })
    const names = scene.graph.order <= MAX_NAMES
    context.font = "500 12px system-ui, sans-serif"
    scene.graph.forEachNode((id, look) => {
      const { x, y } = place(look)
      context.fillStyle = look.ring > 0 ? look.ringColor : look.color
      context.beginPath()
      context.arc(x, y, look.size, 0, Math.PI * 2)
      context.fill()
      if (look.ring > 0) {
        context.fillStyle = look.color
        context.beginPath()
        context.arc(x, y, look.size * (1 - look.ring), 0, Math.PI * 2)
        context.fill()
      }
      if (!names && id !== emphasized) return
      context.fillStyle = colour(id === emphasized ? "text" : "soft")
      context.fillText(look.label, x + look.size + 4, y + 4)
    })
  }
  const refresh = (): void => {
    if (frame === 0) frame = requestAnimationFrame(draw)
  }

  const at = (event: MouseEvent): string | undefined => {
    const { place } = view()
    let nearest: string | undefined
    let distance = 12
    scene.graph.forEachNode((id, look) => {
      const { x, y } = place(look)
      const away = Math.hypot(x - event.offsetX, y - event.offsetY) - look.size
      if (away < distance) [nearest, distance] = [id, away]
    })
    return nearest
  }
  let held: { readonly x: number; readonly y: number } | undefined
  canvas.addEventListener("pointermove", (event) => {
    if (held !== undefined) {
      pan = { x: pan.x + event.clientX - held.x, y: pan.y + event.clientY - held.y }
      held = { x: event.clientX, y: event.clientY }
      return refresh()
    }
    const found = at(event)
    canvas.style.cursor = found === undefined ? "" : "pointer"
    if (found === emphasized) return
    emphasized = found
    on.hover(found)
    refresh()
  })
  canvas.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX, y: event.clientY }
    canvas.setPointerCapture(event.pointerId)
  })
  canvas.addEventListener("pointerup", () => {
    held = undefined
  })
  canvas.addEventListener("click", (event) => {
    const found = at(event)
    if (found !== undefined) on.open(found)
  })
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault()
      zoom = Math.max(0.3, Math.min(40, zoom * (event.deltaY < 0 ? 1.15 : 1 / 1.15)))
      refresh()
    },
    { passive: false }
  )
  const watch = new ResizeObserver(refresh)
  watch.observe(host)
  refresh()
  return {
    kind: "canvas",
    refresh,
    zoom: (factor) => {
      zoom = Math.max(0.3, Math.min(40, zoom * factor))
      refresh()
    },
    fit: () => {
      zoom = 1
      pan = { x: 0, y: 0 }
      refresh()
    },
    emphasize: (id) => {
      emphasized = id
      refresh()
    },
    destroy: () => {
      cancelAnimationFrame(frame)
      watch.disconnect()
      canvas.remove()
    }
  }
}
