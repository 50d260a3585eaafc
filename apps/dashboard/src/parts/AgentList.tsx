/** Agents as a list that stays quick with tens of thousands: only what is in sight is there. One tab stop; arrows move, Enter opens. */
import { useEffect, useRef, useState } from "preact/hooks"
import type { AgentRecord } from "../api/Types.ts"
import { pointed } from "../graph/GraphView.tsx"
import { go, href } from "../Router.ts"
import { loads } from "../state/Mesh.ts"
import { plural } from "./Format.ts"
import { ScoreBar, Status } from "./Pieces.tsx"

const ROW = 52
/** Rows drawn beyond what is in sight. */
const MARGIN = 6

const optionId = (index: number): string => `agent-option-${index}`

export const AgentList = ({ items }: { readonly items: ReadonlyArray<AgentRecord> }) => {
  const box = useRef<HTMLDivElement>(null)
  const [top, setTop] = useState(0)
  const [height, setHeight] = useState(600)
  const [active, setActive] = useState<string | undefined>(undefined)
  const index = Math.max(
    0,
    items.findIndex(({ manifest }) => manifest.agent_id === active)
  )

  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setHeight(entry!.contentRect.height))
    watch.observe(box.current!)
    return () => watch.disconnect()
  }, [])

  const move = (to: number): void => {
    const next = Math.max(0, Math.min(items.length - 1, to))
    const id = items[next]?.manifest.agent_id
    if (id === undefined) return
    setActive(id)
    pointed.value = id
    const list = box.current!
    if (next * ROW < list.scrollTop) list.scrollTop = next * ROW
    else if ((next + 1) * ROW > list.scrollTop + list.clientHeight)
      list.scrollTop = (next + 1) * ROW - list.clientHeight
  }
  const onKey = (event: KeyboardEvent): void => {
    const page = Math.max(1, Math.floor(height / ROW) - 1)
    const to = {
      ArrowDown: active === undefined ? 0 : index + 1,
      ArrowUp: index - 1,
      PageDown: index + page,
      PageUp: index - page,
      Home: 0,
      End: items.length - 1
    }[event.key]
    if (to !== undefined) {
      event.preventDefault()
      move(to)
    } else if (event.key === "Enter" && active !== undefined) go(href("agents", active))
  }

  const from = Math.max(0, Math.floor(top / ROW) - MARGIN)
  const to = Math.min(items.length, Math.ceil((top + height) / ROW) + MARGIN)
  return (
    <div
      class="agents-list"
      ref={box}
      role="listbox"
      tabIndex={0}
      aria-label="Agents"
      aria-activedescendant={active !== undefined && index >= from && index < to ? optionId(index) : undefined}
      onKeyDown={onKey}
      onFocus={() => active === undefined && items[0] !== undefined && setActive(items[0].manifest.agent_id)}
      onBlur={() => (pointed.value = undefined)}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
    >
      <div style={{ height: `${items.length * ROW}px` }} role="presentation">
        {items.slice(from, to).map(({ manifest, status, trust_score }, i) => {
          const id = manifest.agent_id
          const load = loads.get(id) ?? 0
          return (
            <div
              key={id}
              id={optionId(from + i)}
              class="agent-row"
              role="option"
              aria-selected={id === active}
              aria-setsize={items.length}
              aria-posinset={from + i + 1}
              style={{ top: `${(from + i) * ROW}px` }}
              onClick={() => go(href("agents", id))}
              onPointerEnter={() => (pointed.value = id)}
              onPointerLeave={() => (pointed.value = undefined)}
            >
              <span class="cut name">{manifest.name || id}</span>
              <Status status={status} />
              <span class="cut what">
                {load > 0 ? `${load} of ${manifest.max_concurrent_tasks} at work · ` : ""}
                {manifest.capabilities.length === 1
                  ? manifest.capabilities[0]!.name
                  : plural(manifest.capabilities.length, "capability").replace("capabilitys", "capabilities")}
              </span>
              <ScoreBar value={trust_score} label="trust" />
            </div>
          )
        })}
      </div>
    </div>
  )
}
