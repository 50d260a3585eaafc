/** A chart over time, by uPlot: lines, points, and a band between two lines. Canvas, with what it shows said in words beside it. */
import { useEffect, useRef, useState } from "preact/hooks"
import uPlot from "uplot"
import { colour, paint } from "../state/Theme.ts"
import * as Format from "./Format.ts"

/** One line or set of points. `colour` is the name of a token of the style sheet. */
export interface Series {
  readonly label: string
  readonly colour: string
  readonly values: ReadonlyArray<number | null>
  readonly kind?: "line" | "points" | "step" | "bars"
}

interface Props {
  /** Milliseconds since the epoch, growing. */
  readonly times: ReadonlyArray<number>
  readonly series: ReadonlyArray<Series>
  /** Indexes in `series` of the upper and the lower edge of a band. */
  readonly band?: { readonly upper: number; readonly lower: number; readonly colour: string }
  readonly range?: { readonly min: number; readonly max: number }
  readonly format: (value: number) => string
  /** What the chart shows, in words. */
  readonly label: string
  readonly height?: number
  /** Counts have no halves. */
  readonly integers?: boolean
}

/** Seconds between two times, and whole steps between two counts. */
const seconds = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400, 172_800, 604_800
]
const steps = Array.from({ length: 24 }, (_, i) => [1, 2, 5][i % 3]! * 10 ** Math.floor(i / 3))

const withAlpha = (rgb: string, alpha: number): string => rgb.replace(/^rgb\(([^)]*)\)$/, `rgba($1, ${alpha})`)

const pathsOf = (kind: Series["kind"]): uPlot.Series.PathBuilder | undefined => {
  if (kind === "points") return () => null
  if (kind === "step") return uPlot.paths.stepped!({ align: 1 })
  if (kind === "bars") return uPlot.paths.bars!({ size: [0.7, 24] })
  return uPlot.paths.linear!()
}

const plotOf = (props: Props, width: number, tip: HTMLElement): uPlot.Options => {
  const { band, format, height = 180, range, series } = props
  const axis = { stroke: colour("faint"), font: "11px system-ui", ticks: { show: false } }
  const grid = { stroke: colour("line"), width: 1 }
  return {
    width,
    height,
    // Half of the last time on the axis stands beyond it.
    padding: [8, 28, 0, 0],
    cursor: { points: { size: 7 }, drag: { x: false, y: false } },
    legend: { show: false },
    scales: {
      x: { time: true },
      y:
        range === undefined
          ? { range: (_, __, max) => [0, Number.isFinite(max) && max > 0 ? max * 1.1 : 1] }
          : { range: [range.min, range.max] }
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        space: 80,
        size: 28,
        incrs: seconds,
        values: (_, ticks) => ticks.map((at) => Format.time(at * 1000))
      },
      {
        ...axis,
        grid,
        size: 58,
        ...(props.integers === true ? { incrs: steps } : {}),
        values: (_, ticks) => ticks.map(format)
      }
    ],
    series: [
      {},
      ...series.map(({ colour: name, kind, label }): uPlot.Series => {
        const stroke = colour(name)
        const paths = pathsOf(kind)
        return {
          label,
          stroke: kind === "points" ? "transparent" : stroke,
          width: kind === "bars" ? 0 : 2,
          ...(kind === "bars" ? { fill: withAlpha(stroke, 0.75) } : {}),
          ...(paths === undefined ? {} : { paths }),
          spanGaps: kind !== "bars",
          points: {
            show: kind === "points" || (kind !== "bars" && props.times.length < 40),
            size: 5,
            fill: stroke,
            stroke
          }
        }
      })
    ],
    ...(band === undefined
      ? {}
      : {
          bands: [
            { series: [band.upper + 1, band.lower + 1] as [number, number], fill: withAlpha(colour(band.colour), 0.18) }
          ]
        }),
    hooks: {
      setCursor: [
        (plot) => {
          const at = plot.cursor.idx
          const time = at === null || at === undefined ? undefined : props.times[at]
          tip.hidden = time === undefined
          if (time === undefined) return
          const told = series.flatMap(({ label, values }) => {
            const value = values[at as number]
            return value === null || value === undefined ? [] : [`${label} ${format(value)}`]
          })
          tip.textContent = [Format.time(time), ...told].join("  ·  ")
        }
      ]
    }
  }
}

export const Chart = (props: Props) => {
  const host = useRef<HTMLDivElement>(null)
  const tip = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)))
    watch.observe(host.current!)
    return () => watch.disconnect()
  }, [])
  const painted = paint.value
  useEffect(() => {
    if (width < 40) return
    const data = [props.times.map((at) => at / 1000), ...props.series.map(({ values }) => [...values])]
    const plot = new uPlot(plotOf(props, width, tip.current!), data as uPlot.AlignedData, host.current!)
    return () => plot.destroy()
  }, [width, painted, props.times, props.series])
  return (
    <figure>
      <div class="chart" ref={host} role="img" aria-label={props.label}>
        <div class="tip" ref={tip} hidden />
      </div>
    </figure>
  )
}
