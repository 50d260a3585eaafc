/** Light, dark, or as the system says. */
import { effect, signal } from "@preact/signals"

export type Theme = "system" | "light" | "dark"
const key = "parley.theme"

const read = (): Theme => {
  try {
    const kept = localStorage.getItem(key)
    return kept === "light" || kept === "dark" ? kept : "system"
  } catch {
    return "system"
  }
}

export const theme = signal<Theme>(read())
/** Counts up when colours may have changed: what is drawn on a canvas reads it. */
export const paint = signal(0)

const darkSystem = matchMedia("(prefers-color-scheme: dark)")

/** Whether the page is dark now. */
export const isDark = (): boolean => theme.peek() === "dark" || (theme.peek() === "system" && darkSystem.matches)

export const start = (): void => {
  effect(() => {
    const chosen = theme.value
    if (chosen === "system") delete document.documentElement.dataset["theme"]
    else document.documentElement.dataset["theme"] = chosen
    try {
      if (chosen === "system") localStorage.removeItem(key)
      else localStorage.setItem(key, chosen)
    } catch {
      // The choice lives as long as the page.
    }
    paint.value = paint.peek() + 1
  })
  darkSystem.addEventListener("change", () => paint.value++)
}

export const toggle = (): void => {
  theme.value = isDark() ? "light" : "dark"
}

let probe: HTMLElement | undefined
/** A colour of the style sheet as `rgb(…)`, for canvases. */
export const colour = (name: string): string => {
  if (probe === undefined) {
    probe = document.createElement("span")
    probe.hidden = true
    document.body.append(probe)
  }
  probe.style.color = `var(--${name})`
  return getComputedStyle(probe).color
}

/** Whether the person asked for less motion. */
export const calm = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches
