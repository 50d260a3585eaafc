/**
 * Where in the dashboard we are: the URL, and nothing else.
 */
import { computed, signal } from "@preact/signals"

/** Below this path the registry answers with the page; everything else is its API. */
export const BASE = "/ui"

const here = () => ({ path: location.pathname, query: new URLSearchParams(location.search) })
const place = signal(here())

/** The views there are. */
export type View =
  | "mesh"
  | "agents"
  | "agent"
  | "tasks"
  | "task"
  | "consensus"
  | "memory"
  | "events"
  | "discover"
  | "stats"
  | "nowhere"

/** What the URL says. */
export interface Route {
  readonly view: View
  /** The agent, task or session that it is about. */
  readonly id: string | undefined
  readonly query: URLSearchParams
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    // A `%` that is none: the text is meant as it stands.
    return text
  }
}

/** Where we are. */
export const route = computed((): Route => {
  const { path, query } = place.value
  const rest = path.startsWith(`${BASE}/`) ? path.slice(BASE.length + 1) : path === BASE ? "" : path.slice(1)
  const [first = "", second] = rest.split("/")
  const id = second === undefined || second === "" ? undefined : decode(second)
  switch (first) {
    case "":
    case "mesh":
    case "index.html":
      return { view: "mesh", id: undefined, query }
    case "agents":
      return { view: id === undefined ? "agents" : "agent", id, query }
    case "tasks":
      return { view: id === undefined ? "tasks" : "task", id, query }
    case "consensus":
    case "memory":
      return { view: first, id, query }
    case "events":
    case "discover":
    case "stats":
      return { view: first, id: undefined, query }
    default:
      return { view: "nowhere", id: undefined, query }
  }
})

/** The address of a view. */
export const href = (
  view: string,
  id?: string,
  query: { readonly [name: string]: string | undefined } = {}
): string => {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== "") search.set(name, value)
  const path = view === "mesh" ? "/" : `${BASE}/${view}${id === undefined ? "" : `/${encodeURIComponent(id)}`}`
  return search.size === 0 ? path : `${path}?${search}`
}

/** Goes somewhere; the back button comes back, unless it only changes what is filtered (`replace`). */
export const go = (to: string, options: { readonly replace?: boolean } = {}): void => {
  if (to === location.pathname + location.search) return
  if (options.replace === true) history.replaceState(null, "", to)
  else {
    history.pushState(null, "", to)
    scrollTo(0, 0)
  }
  place.value = here()
}

/** Follows the back button, and links of this page that are clicked without a modifier. */
export const start = (): void => {
  addEventListener("popstate", () => {
    place.value = here()
  })
  document.addEventListener("click", (event) => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return
    const link = event.target instanceof Element ? event.target.closest("a") : null
    if (link === null || link.target !== "" || link.origin !== location.origin || link.hasAttribute("download")) return
    if (link.pathname !== "/" && !link.pathname.startsWith(`${BASE}/`)) return
    if (link.hash !== "") return
    event.preventDefault()
    go(link.pathname + link.search)
  })
}
