/**
 * Charts as SVG, by echarts without a DOM. They bring their own background, so that they can be read on light and dark pages.
 */
import { BarChart, CustomChart, LineChart } from "echarts/charts"
import { GridComponent, LegendComponent, MarkLineComponent, TitleComponent } from "echarts/components"
import { init, use } from "echarts/core"
import { SVGRenderer } from "echarts/renderers"
import type { Chart } from "./Part.ts"
import type { Spread } from "./Spread.ts"
import { short } from "./Table.ts"

use([BarChart, CustomChart, LineChart, GridComponent, LegendComponent, MarkLineComponent, TitleComponent, SVGRenderer])

const WIDTH = 820
const BACKGROUND = "#ffffff"
const INK = "#1f2328"
const FAINT = "#d1d9e0"
/** Told apart by people who do not see red and green (Okabe and Ito); ours comes first. */
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#b8a900"]
const FONT = "system-ui, sans-serif"

interface Common {
  /** Its file's name, without ".svg". */
  readonly name: string
  readonly title: string
  /** One line on what was measured and which way is better. */
  readonly note: string
}

const draw = ({ name, note, title }: Common, height: number, option: object): Chart => {
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height })
  try {
    chart.setOption({
      animation: false,
      backgroundColor: BACKGROUND,
      color: COLOURS,
      textStyle: { fontFamily: FONT, color: INK },
      title: {
        text: title,
        subtext: note,
        left: 16,
        top: 10,
        itemGap: 6,
        textStyle: { fontSize: 17, color: INK, fontFamily: FONT },
        subtextStyle: { fontSize: 13, color: "#59636e", fontFamily: FONT }
      },
      ...option
    })
    return { name, svg: `${chart.renderToSVGString()}\n` }
  } finally {
    chart.dispose()
  }
}

/** 10,000 → "10k". */
const tick = (value: number): string => {
  const size = Math.abs(value)
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`
  return String(Number(value.toPrecision(3)))
}

export interface Bar {
  readonly label: string
  readonly value: Spread
  /** The first colour: what the chart is about. */
  readonly ours?: boolean
}

const TOP = 76
/** A letter's width at 13 px, generously: there is nothing here to measure fonts with. */
const LETTER = 7.4

/** A bar for each contestant, with its middle written beside it and a line from its least to its most. */
export const bars = (
  chart: Common & {
    readonly unit: string
    readonly bars: ReadonlyArray<Bar>
    /** A line across all bars, such as a goal. */
    readonly mark?: { readonly label: string; readonly at: number }
    readonly write?: (value: number) => string
  }
): Chart => {
  const write = chart.write ?? short
  // The first bar stands on top.
  const rows = [...chart.bars].reverse()
  const labels = Math.max(...rows.map(({ label }) => label.length)) * LETTER
  const most = Math.max(chart.mark?.at ?? 0, ...rows.map(({ value }) => value.max))
  return draw(chart, TOP + rows.length * 34 + 48, {
    grid: { left: labels + 28, right: 100, top: TOP, bottom: 48 },
    xAxis: {
      type: "value",
      // A mark beyond all bars is seen as well.
      max: (axis: { readonly max: number }) => Math.max(axis.max, most),
      name: chart.unit,
      nameLocation: "middle",
      nameGap: 26,
      nameTextStyle: { color: INK },
      axisLabel: { color: INK, formatter: tick, showMaxLabel: false },
      splitLine: { lineStyle: { color: FAINT } }
    },
    yAxis: {
      type: "category",
      data: rows.map(({ label }) => label),
      axisTick: { show: false },
      axisLine: { lineStyle: { color: INK } },
      axisLabel: { color: INK, fontSize: 13 }
    },
    series: [
      {
        type: "bar",
        barWidth: 18,
        data: rows.map(({ ours, value }) => ({
          value: value.median,
          itemStyle: { color: ours === true ? COLOURS[0] : COLOURS[4] }
        })),
        ...(chart.mark === undefined
          ? {}
          : {
              markLine: {
                silent: true,
                symbol: "none",
                lineStyle: { color: COLOURS[5], type: "dashed", width: 1.5 },
                label: { formatter: chart.mark.label, color: COLOURS[5], position: "end" },
                data: [{ xAxis: chart.mark.at }]
              }
            })
      },
      {
        type: "custom",
        z: 5,
        data: rows.map(({ value }, i) => [i, value.min, value.max, value.median]),
        encode: { x: [1, 2], y: 0 },
        renderItem: (
          _: unknown,
          api: { value: (i: number) => number; coord: (at: ReadonlyArray<number>) => [number, number] }
        ) => {
          const [from, y] = api.coord([api.value(1), api.value(0)])
          const [to] = api.coord([api.value(2), api.value(0)])
          const line = (x1: number, y1: number, x2: number, y2: number) => ({
            type: "line",
            shape: { x1, y1, x2, y2 },
            style: { stroke: INK, lineWidth: 1.2 }
          })
          return {
            type: "group",
            children: [
              line(from, y, to, y),
              line(from, y - 4, from, y + 4),
              line(to, y - 4, to, y + 4),
              {
                type: "text",
                x: to + 8,
                y,
                style: { text: write(api.value(3)), fill: INK, font: `13px ${FONT}`, verticalAlign: "middle" }
              }
            ]
          }
        }
      }
    ]
  })
}

export interface Line {
  readonly label: string
  /** [x, y], in the order of x; a y that is not finite leaves a gap. */
  readonly points: ReadonlyArray<readonly [number, number]>
}

interface Axis {
  readonly name: string
  /** Logarithmic, base 10. */
  readonly log?: boolean
  /** How a figure of the axis is written. */
  readonly write?: (value: number) => string
}

/** A line for each contestant. */
export const lines = (
  chart: Common & { readonly x: Axis; readonly y: Axis; readonly lines: ReadonlyArray<Line> }
): Chart => {
  const axis = ({ log, name, write }: Axis, gap: number) => ({
    type: log === true ? "log" : "value",
    ...(log === true ? {} : { min: 0 }),
    name,
    nameLocation: "middle",
    nameGap: gap,
    nameTextStyle: { color: INK },
    axisLine: { show: true, lineStyle: { color: INK } },
    axisLabel: { color: INK, formatter: write ?? tick },
    splitLine: { lineStyle: { color: FAINT } }
  })
  return draw(chart, 420, {
    legend: { top: 58, left: 16, itemGap: 16, textStyle: { color: INK, fontSize: 13 } },
    grid: { left: 70, right: 30, top: 100, bottom: 50 },
    xAxis: axis(chart.x, 28),
    yAxis: axis(chart.y, 52),
    series: chart.lines.map(({ label, points }) => ({
      type: "line",
      name: label,
      symbol: "circle",
      symbolSize: 6,
      lineStyle: { width: 2 },
      data: points.map(([x, y]) => [x, Number.isFinite(y) ? y : null])
    }))
  })
}
