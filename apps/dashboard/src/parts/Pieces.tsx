/** Small pieces that several views are made of. */
import { signal } from "@preact/signals"
import type { ComponentChildren, JSX } from "preact"
import { useEffect, useState } from "preact/hooks"
import type { AgentStatus } from "../api/Types.ts"
import { href } from "../Router.ts"
import { nameOf, shortId, version } from "../state/Mesh.ts"
import * as Format from "./Format.ts"
import { Icon } from "./Icons.tsx"

/** What was just done, said to everyone: shown for a while, and read out. */
export const said = signal<string | undefined>(undefined)
let hush: ReturnType<typeof setTimeout> | undefined
export const say = (text: string): void => {
  said.value = text
  clearTimeout(hush)
  hush = setTimeout(() => {
    said.value = undefined
  }, 3_000)
}

const copyByHand = (text: string): boolean => {
  // Without https there is no clipboard to write to, but a selection can be copied.
  const area = document.createElement("textarea")
  area.value = text
  area.className = "hidden-text"
  document.body.append(area)
  area.select()
  const done = document.execCommand("copy")
  area.remove()
  return done
}

export const copy = async (text: string, what: string): Promise<void> => {
  try {
    await navigator.clipboard.writeText(text)
    say(`${what} copied`)
  } catch {
    say(copyByHand(text) ? `${what} copied` : `${what} could not be copied: the browser does not allow it`)
  }
}

export const CopyButton = ({ text, what }: { readonly text: string; readonly what: string }) => (
  <button
    type="button"
    class="copy"
    aria-label={`Copy ${what}`}
    title={`Copy ${what}`}
    onClick={() => void copy(text, what)}
  >
    <Icon name="copy" />
  </button>
)

export const Status = ({ status }: { readonly status: AgentStatus }) => <span class={`status ${status}`}>{status}</span>

export const Pill = ({ children, tone }: { readonly tone: string; readonly children: ComponentChildren }) => (
  <span class={`pill ${tone}`}>{children}</span>
)

/** A score from 0 to 1 as a bar and a number. */
export const ScoreBar = ({ label, value }: { readonly value: number; readonly label: string }) => (
  <div class="score" title={`${label} ${Format.score(value)}`}>
    <div class="bar" aria-hidden="true">
      <i style={{ width: `${Math.max(0, Math.min(1, value)) * 100}%` }} />
    </div>
    <span class="num small">
      <span class="hidden-text">{label} </span>
      {Format.score(value)}
    </span>
  </div>
)

/** A score within the interval in which it lies with 90 % probability. */
export const Interval = ({
  high,
  low,
  score
}: {
  readonly low: number
  readonly high: number
  readonly score: number
}) => (
  <div
    class="interval"
    role="img"
    aria-label={`${Format.score(score)}, between ${Format.score(low)} and ${Format.score(high)}`}
  >
    <i style={{ left: `${low * 100}%`, width: `${Math.max(0.01, high - low) * 100}%` }} />
    <b style={{ left: `${score * 100}%` }} />
  </div>
)

/** An agent by its name, which leads to its page. */
export const AgentLink = ({ id }: { readonly id: string }) => {
  void version.value
  return (
    <a class="cut" href={href("agents", id)} title={id}>
      {nameOf(id)}
    </a>
  )
}

export const Id = ({ id, what = "id" }: { readonly id: string; readonly what?: string }) => (
  <span class="mono faint" title={id}>
    {shortId(id)} <CopyButton text={id} what={what} />
  </span>
)

let clockListeners = 0
const clock = signal(Date.now())
let ticking: ReturnType<typeof setInterval> | undefined
/** A time as how long ago it is; it keeps counting. */
export const Ago = ({ at }: { readonly at: number }) => {
  useEffect(() => {
    if (clockListeners++ === 0) ticking = setInterval(() => (clock.value = Date.now()), 5_000)
    return () => {
      if (--clockListeners === 0) clearInterval(ticking)
    }
  }, [])
  return (
    <time dateTime={Number.isFinite(at) ? new Date(at).toISOString() : undefined} title={Format.fullTime(at)}>
      {Format.ago(at, Math.max(clock.value, Date.now()))}
    </time>
  )
}

export const Empty = ({ children, title }: { readonly title: string; readonly children?: ComponentChildren }) => (
  <div class="empty">
    <strong>{title}</strong>
    {children}
  </div>
)

export const Notice = ({
  children,
  tone = "bad"
}: {
  readonly tone?: string
  readonly children: ComponentChildren
}) => (
  <p class={`notice ${tone}`} role={tone === "bad" ? "alert" : "status"}>
    {children}
  </p>
)

/** A panel with a heading. */
export const Panel = (props: {
  readonly title: string
  readonly end?: ComponentChildren
  readonly class?: string
  readonly children: ComponentChildren
}) => {
  const id = `panel-${props.title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}`
  return (
    <section
      class={`panel ${props.class ?? ""}`}
      aria-labelledby={id}
      // What is wider than the screen is scrolled with the arrow keys as well.
      tabIndex={props.class?.includes("scroll") === true ? 0 : undefined}
    >
      <header>
        <h2 id={id}>{props.title}</h2>
        {props.end === undefined ? null : <div class="end">{props.end}</div>}
      </header>
      {props.children}
    </section>
  )
}

/** One number with its name. */
export const Fact = ({
  name,
  note,
  value
}: {
  readonly name: string
  readonly value: ComponentChildren
  readonly note?: ComponentChildren
}) => (
  <div>
    <dt>{name}</dt>
    <dd class={value === Format.UNKNOWN ? "unknown" : ""}>
      {value} {note === undefined ? null : <small>{note}</small>}
    </dd>
  </div>
)

const token = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/g
/** Most characters of JSON shown at once: more would stop the page. */
const MAX_SHOWN = 100_000

/** JSON, indented and coloured; always as text. */
export const JsonView = ({ label, value }: { readonly value: unknown; readonly label: string }) => {
  const all = JSON.stringify(value, null, 2) ?? "undefined"
  const text = all.length > MAX_SHOWN ? all.slice(0, MAX_SHOWN) : all
  const parts: Array<JSX.Element | string> = []
  let at = 0
  for (const match of text.matchAll(token)) {
    if (parts.length > 4_000) break
    if (match.index > at) parts.push(text.slice(at, match.index))
    const [whole, string, colon] = match
    const kind = string === undefined ? "n" : colon === undefined ? "s" : "k"
    parts.push(<span class={kind}>{string ?? whole}</span>)
    if (colon !== undefined) parts.push(colon)
    at = match.index + whole.length
  }
  parts.push(text.slice(at))
  return (
    // Whoever has no mouse scrolls it with the arrow keys.
    <pre class="json" tabIndex={0} role="region" aria-label={label}>
      {parts}
      {all.length > MAX_SHOWN ? `\n… ${Format.count(all.length - MAX_SHOWN)} characters more` : ""}
    </pre>
  )
}

/** What an answer of the registry is at, for views that ask once and then again. */
export interface Asked<A> {
  readonly value: A | undefined
  readonly error: string | undefined
  readonly busy: boolean
  readonly again: () => void
}

/** Asks the registry when `keys` change; an answer that comes too late for them is dropped. */
export const useAsk = <A,>(ask: () => Promise<A>, keys: ReadonlyArray<unknown>): Asked<A> => {
  const [turn, setTurn] = useState(0)
  const [result, setResult] = useState<{ value: A | undefined; error: string | undefined; busy: boolean; of: string }>({
    value: undefined,
    error: undefined,
    busy: true,
    of: ""
  })
  const of = JSON.stringify(keys)
  useEffect(() => {
    let current = true
    setResult((before) => ({ ...before, value: before.of === of ? before.value : undefined, busy: true }))
    ask().then(
      (value) => current && setResult({ value, error: undefined, busy: false, of }),
      (cause: unknown) =>
        current &&
        setResult((before) => ({
          value: before.of === of ? before.value : undefined,
          error: cause instanceof Error ? cause.message : String(cause),
          busy: false,
          of
        }))
    )
    return () => {
      current = false
    }
  }, [of, turn])
  return { value: result.value, error: result.error, busy: result.busy, again: () => setTurn((turn) => turn + 1) }
}

/** A value that follows another at most every `wait` milliseconds. */
export const useCalm = <A,>(value: A, wait: number): A => {
  const [calm, setCalm] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setCalm(value), wait)
    return () => clearTimeout(timer)
  }, [value, wait])
  return calm
}
