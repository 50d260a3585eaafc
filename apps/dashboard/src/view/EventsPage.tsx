/** The log: what has happened, as it happens. It can be filtered, and stopped to be read. */
import { useEffect, useRef, useState } from "preact/hooks"
import type { RegistryEvent } from "../api/Types.ts"
import { brief, count, fullTime, score, time } from "../parts/Format.ts"
import { Icon } from "../parts/Icons.tsx"
import { AgentLink, Empty, JsonView, Pill } from "../parts/Pieces.tsx"
import { go, href } from "../Router.ts"
import { agentOf } from "../state/Boot.ts"
import { events, logVersion, recordEarlier, textOf } from "../state/Log.ts"
import * as Stream from "../state/Stream.ts"

/** Rows drawn: the newest. More are found by filtering. */
const ROWS = 300
const EARLIER = 500

const types = [
  "agent.registered",
  "agent.left",
  "status.changed",
  "trust.changed",
  "task.started",
  "task.ended",
  "trace",
  "verdict"
] as const

const toneOf = ({ data, type }: RegistryEvent): string => {
  if (type === "status.changed") return String(data["status"])
  if (type === "trace") return String(data["event_type"])
  if (type === "trust.changed") return data["success"] === false ? "failed" : "ok"
  if (type === "agent.left") return "offline"
  return "info"
}

const text = (value: unknown): string => (typeof value === "string" ? value : "unknown")

const Said = ({ event }: { readonly event: RegistryEvent }) => {
  const { data, type } = event
  const id = agentOf(event)
  const agent = id === undefined ? null : <AgentLink id={id} />
  switch (type) {
    case "trace":
      return (
        <>
          <AgentLink id={text(data["from_agent"])} /> → <AgentLink id={text(data["to_agent"])} />{" "}
          <b>{text(data["event_type"]).replace("_", " ")}</b>{" "}
          <a class="mono small" href={href("tasks", text(data["task_id"]))}>
            {brief(text(data["task_id"]), 12)}
          </a>
        </>
      )
    case "trust.changed":
      return (
        <>
          {agent} {data["success"] === true ? "did well" : "failed"}
          {typeof data["capability"] === "string" ? ` at ${data["capability"]}` : ""}: trust{" "}
          {score(typeof data["trust_score"] === "number" ? data["trust_score"] : undefined)}
        </>
      )
    case "status.changed":
      return (
        <>
          {agent} is {text(data["status"])}
          {typeof data["why"] === "string" && data["why"] !== "" ? `: ${brief(data["why"])}` : ""}
        </>
      )
    case "task.started":
    case "task.ended":
      return (
        <>
          {agent} {type === "task.started" ? "began" : "ended"}{" "}
          <a class="mono small" href={href("tasks", text(data["task_id"]))}>
            {brief(text(data["task_id"]), 12)}
          </a>
        </>
      )
    case "verdict":
      return (
        <>
          <a href={href("consensus", text(data["task_id"]))}>{brief(data["question"], 80)}</a>
        </>
      )
    case "agent.registered":
      return <>{agent} registered</>
    case "agent.left":
      return <>{agent} left</>
    default:
      return <span class="mono">{brief(data)}</span>
  }
}

const Row = ({ event }: { readonly event: RegistryEvent }) => {
  const [open, setOpen] = useState(false)
  return (
    <li>
      <div class="event">
        <time dateTime={event.at} title={fullTime(Date.parse(event.at))}>
          {time(Date.parse(event.at))}
        </time>
        <button
          type="button"
          class="button bare small mono cursor"
          aria-expanded={open}
          aria-label={`Event ${event.cursor}, as it came`}
          onClick={() => setOpen(!open)}
        >
          #{event.cursor}
        </button>
        <span>
          <Pill tone={toneOf(event)}>{event.type}</Pill>
        </span>
        <span class="said">
          <Said event={event} />
        </span>
      </div>
      {open ? (
        <div class="event-open">
          <JsonView value={event} label={`Event ${event.cursor}`} />
        </div>
      ) : null}
    </li>
  )
}

export const EventsPage = ({ query }: { readonly query: URLSearchParams }) => {
  void logVersion.value
  const words = (query.get("q") ?? "").toLowerCase()
  const type = query.get("type") ?? ""
  const [held, setHeld] = useState<ReadonlyArray<RegistryEvent> | undefined>(undefined)
  const [busy, setBusy] = useState(false)
  const box = useRef<HTMLDivElement>(null)
  const all = held ?? events
  const shown: Array<RegistryEvent> = []
  let matching = 0
  for (let i = all.length - 1; i >= 0; i--) {
    const event = all[i]!
    if (type !== "" && event.type !== type) continue
    if (words !== "" && !textOf(event).includes(words)) continue
    matching++
    if (shown.length < ROWS) shown.push(event)
  }
  const set = (patch: { readonly [name: string]: string | undefined }): void =>
    go(href("events", undefined, { ...Object.fromEntries(query), ...patch }), { replace: true })
  const missed = held === undefined ? 0 : events.length - all.length
  const first = events[0]?.cursor
  const older = async (): Promise<void> => {
    setBusy(true)
    recordEarlier(await Stream.earlier(first ?? (Stream.cursor.peek() ?? 0) + 1, EARLIER))
    setBusy(false)
  }
  // What one reads does not move away while it is being read.
  useEffect(() => {
    const list = box.current!
    const onScroll = (): void => {
      if (list.scrollTop > 40 && held === undefined) setHeld([...events])
    }
    list.addEventListener("scroll", onScroll, { passive: true })
    return () => list.removeEventListener("scroll", onScroll)
  }, [held])
  return (
    <>
      <div class="head">
        <h1>Events</h1>
        <span class="faint">
          {count(matching)} shown of {count(all.length)} since{" "}
          {all[0] === undefined ? "now" : time(Date.parse(all[0].at))}
        </span>
      </div>
      <section class="panel" aria-label="Log">
        <div class="toolbar">
          <div class="grow">
            <input
              class="input"
              type="search"
              placeholder="Filter by agent, task or any text"
              aria-label="Filter events"
              value={query.get("q") ?? ""}
              onInput={(event) => set({ q: event.currentTarget.value })}
            />
          </div>
          <select
            class="input"
            style={{ width: "170px" }}
            aria-label="Kind of event"
            value={type}
            onChange={(event) => set({ type: event.currentTarget.value })}
          >
            <option value="">every kind</option>
            {types.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
          <button
            type="button"
            class="button"
            aria-pressed={held !== undefined}
            onClick={() => {
              setHeld(held === undefined ? [...events] : undefined)
              if (held !== undefined) box.current!.scrollTop = 0
            }}
          >
            <Icon name={held === undefined ? "pause" : "play"} />
            {held === undefined ? "Pause" : missed > 0 ? `Go on, ${count(missed)} new` : "Go on"}
          </button>
        </div>
        <div class="log" ref={box} tabIndex={0} role="log" aria-label="Events, the newest first" aria-live="off">
          {shown.length === 0 ? (
            <Empty title={all.length === 0 ? "Nothing has happened yet" : "No event matches"} />
          ) : null}
          <ul>
            {shown.map((event) => (
              <Row key={event.cursor} event={event} />
            ))}
          </ul>
          <div class="body" style={{ padding: "10px 14px" }}>
            <button
              type="button"
              class="button small"
              disabled={busy || first === 1 || Stream.cursor.value === undefined}
              onClick={() => void older()}
            >
              {busy ? "asking…" : "Earlier events"}
            </button>
          </div>
        </div>
      </section>
    </>
  )
}
