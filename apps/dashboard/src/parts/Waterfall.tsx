/** Bars over time: tasks of a while, or the parts of one task. */
import type { ComponentChildren } from "preact"
import { spansOf, type Hop, type Outcome } from "../state/Tasks.ts"
import * as Format from "./Format.ts"

export const toneOf = (outcome: Outcome): string =>
  outcome === "completed" ? "completed" : outcome === "open" ? "info" : "failed"

export const wordOf = (outcome: Outcome): string => (outcome === "open" ? "not ended" : outcome)

/** The bars of one hop between two times. */
export const Track = ({
  from,
  hop,
  now,
  to
}: {
  readonly hop: Hop
  readonly from: number
  readonly to: number
  readonly now: number
}) => {
  const width = Math.max(1, to - from)
  const place = (at: number): number => Math.max(0, Math.min(100, ((at - from) / width) * 100))
  return (
    <>
      {spansOf(hop, now).map(({ from, running, to, what }, i) => (
        <i
          key={i}
          class={`span ${what === "working" ? toneOf(hop.outcome) : "waiting"} ${running ? "running" : ""}`}
          style={{ left: `${place(from)}%`, width: `${Math.max(0, place(to) - place(from))}%` }}
          title={`${what} ${Format.millis(to - from)}${running ? ", so far" : ""}`}
        />
      ))}
      {hop.events.map(({ at, event_type }, i) => (
        <i
          key={`m${i}`}
          class={`mark ${event_type}`}
          style={{ left: `${place(at)}%` }}
          title={`${event_type} ${Format.time(at)}`}
        />
      ))}
    </>
  )
}

export const Scale = ({
  from,
  label,
  relative,
  to
}: {
  readonly from: number
  readonly to: number
  readonly relative: boolean
  readonly label: string
}) => (
  <div class="scale">
    <span>{label}</span>
    <div>
      <span>{relative ? "0" : Format.time(from)}</span>
      <span class="wide">{relative ? Format.millis((to - from) / 2) : Format.time((from + to) / 2)}</span>
      <span>{relative ? Format.millis(to - from) : Format.time(to)}</span>
    </div>
    <span class="num">took</span>
  </div>
)

export const Lane = (props: {
  readonly label: ComponentChildren
  readonly took: string
  readonly children: ComponentChildren
  readonly says: string
}) => (
  <li class="lane">
    <span class="cut">{props.label}</span>
    <div class="track" role="img" aria-label={props.says}>
      {props.children}
    </div>
    <span class="num small soft">{props.took}</span>
  </li>
)
