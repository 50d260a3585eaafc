/** The mesh, drawn. A picture: whoever does not see it has the list beside it. */
import { signal } from "@preact/signals"
import { useEffect, useRef, useState } from "preact/hooks"
import { Icon } from "../parts/Icons.tsx"
import { go, href } from "../Router.ts"
import { edgeKey, edgeVersion, pulses, version } from "../state/Mesh.ts"
import { paint } from "../state/Theme.ts"
import { makeCanvas } from "./Canvas.ts"
import { Scene, type Renderer } from "./Scene.ts"
import { hasWebgl, makeWebgl } from "./Webgl.ts"

/** The agent that a pointer or the list is at. */
export const pointed = signal<string | undefined>(undefined)

/** Agents and pairs are taken into the picture at most this often, in milliseconds. */
const UPDATE_MS = 150

export const GraphView = () => {
  const host = useRef<HTMLDivElement>(null)
  const drawn = useRef<Renderer | undefined>(undefined)
  const [kind, setKind] = useState<Renderer["kind"]>("webgl")

  useEffect(() => {
    const scene = new Scene((settled) => {
      host.current?.setAttribute("data-settled", String(settled))
      drawn.current?.refresh()
    })
    const on = {
      open: (id: string) => go(href("agents", id)),
      hover: (id: string | undefined) => {
        pointed.value = id
      }
    }
    scene.update()
    const renderer = hasWebgl() ? makeWebgl(host.current!, scene, on) : makeCanvas(host.current!, scene, on)
    drawn.current = renderer
    setKind(renderer.kind)

    let timer: ReturnType<typeof setTimeout> | undefined
    const later = (): void => {
      timer ??= setTimeout(() => {
        timer = undefined
        scene.update()
        renderer.refresh()
      }, UPDATE_MS)
    }
    let fading: ReturnType<typeof setInterval> | undefined
    const pulse = (from: string, to: string, failed: boolean): void => {
      scene.pulse(edgeKey(from, to), failed)
      fading ??= setInterval(() => {
        if (!scene.fade()) {
          clearInterval(fading)
          fading = undefined
        }
        renderer.refresh()
      }, 200)
    }
    pulses.add(pulse)
    const stops = [
      version.subscribe(later),
      edgeVersion.subscribe(later),
      paint.subscribe(() => {
        scene.repaint()
        renderer.refresh()
      }),
      pointed.subscribe((id) => renderer.emphasize(id))
    ]
    return () => {
      for (const stop of stops) stop()
      pulses.delete(pulse)
      clearTimeout(timer)
      clearInterval(fading)
      drawn.current = undefined
      renderer.destroy()
      scene.destroy()
    }
  }, [])

  return (
    <>
      <div
        class="stage"
        ref={host}
        role="img"
        aria-label="The mesh as a picture: agents, and lines between those that worked together. The list of agents beside it holds the same."
        data-renderer={kind}
      />
      <div class="tools" role="group" aria-label="Picture">
        <button
          type="button"
          class="button bare icon"
          aria-label="Zoom in"
          title="Zoom in"
          onClick={() => drawn.current?.zoom(1.5)}
        >
          <Icon name="plus" />
        </button>
        <button
          type="button"
          class="button bare icon"
          aria-label="Zoom out"
          title="Zoom out"
          onClick={() => drawn.current?.zoom(1 / 1.5)}
        >
          <Icon name="minus" />
        </button>
        <button
          type="button"
          class="button bare icon"
          aria-label="Show all"
          title="Show all"
          onClick={() => drawn.current?.fit()}
        >
          <Icon name="fit" />
        </button>
      </div>
      <p class="legend key">
        <span class="healthy">
          <i class="dot" style={{ background: "var(--dot-healthy)" }} /> healthy
        </span>
        <span class="degraded">
          <i class="dot" style={{ background: "var(--dot-degraded)" }} /> degraded
        </span>
        <span class="offline">
          <i class="dot" style={{ background: "var(--dot-offline)" }} /> offline
        </span>
        <span class="faint">size: trust, ring: load</span>
      </p>
    </>
  )
}
