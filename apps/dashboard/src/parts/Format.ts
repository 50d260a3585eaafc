/** Numbers and times for people. What is unknown is said to be. */

/** What stands where nothing is known. */
export const UNKNOWN = "unknown"

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 })

export const count = (value: number | undefined): string => (value === undefined ? UNKNOWN : whole.format(value))

/** A trust score or another share of one. */
export const score = (value: number | undefined): string => (value === undefined ? UNKNOWN : value.toFixed(2))

export const percent = (value: number): string => `${(value * 100).toFixed(value > 0.995 || value === 0 ? 0 : 1)} %`

export const millis = (value: number | undefined): string => {
  if (value === undefined || !Number.isFinite(value)) return UNKNOWN
  if (value === 0) return "0 ms"
  if (value < 1) return `${value.toFixed(2)} ms`
  if (value < 10) return `${value.toFixed(1)} ms`
  if (value < 1_000) return `${Math.round(value)} ms`
  if (value < 60_000) return `${(value / 1_000).toFixed(value < 10_000 ? 2 : 1)} s`
  return `${Math.floor(value / 60_000)} min ${Math.round((value % 60_000) / 1_000)} s`
}

export const usd = (value: number | null): string =>
  value === null ? UNKNOWN : value === 0 ? "free" : `$${value < 0.01 ? value.toPrecision(2) : value.toFixed(2)}`

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" })
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" })
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" })

export const time = (at: number): string => (Number.isFinite(at) ? clock.format(at) : UNKNOWN)
export const fullTime = (at: number): string => (Number.isFinite(at) ? full.format(at) : UNKNOWN)

/** How long ago, in one short word or two. */
export const ago = (at: number, now = Date.now()): string => {
  if (!Number.isFinite(at)) return UNKNOWN
  const seconds = Math.round((now - at) / 1_000)
  // Clocks differ a little between a page and a registry.
  if (seconds < 3) return "now"
  if (seconds < 60) return `${seconds} s ago`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ago`
  return day.format(at)
}

export const plural = (value: number, what: string): string => `${whole.format(value)} ${what}${value === 1 ? "" : "s"}`

/** JSON on one line, cut to a length. */
export const brief = (value: unknown, max = 120): string => {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? UNKNOWN)
  return text.length > max ? `${text.slice(0, max - 1)}…` : text
}
