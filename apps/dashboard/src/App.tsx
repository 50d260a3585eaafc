/** The frame of the dashboard: where one can go, how the connection is, and the view that the URL asks for. */
import { useEffect, useRef } from "preact/hooks"
import { claims, signOut, token, wanted } from "./api/Session.ts"
import { count } from "./parts/Format.ts"
import { Icon, type IconName } from "./parts/Icons.tsx"
import { said } from "./parts/Pieces.tsx"
import { href, route, type View } from "./Router.ts"
import { trouble } from "./state/Boot.ts"
import { agents, version } from "./state/Mesh.ts"
import * as Stream from "./state/Stream.ts"
import { isDark, paint, toggle } from "./state/Theme.ts"
import { AgentPage } from "./view/AgentPage.tsx"
import { AgentsPage } from "./view/AgentsPage.tsx"
import { ConsensusPage } from "./view/ConsensusPage.tsx"
import { DiscoverPage } from "./view/DiscoverPage.tsx"
import { EventsPage } from "./view/EventsPage.tsx"
import { MemoryPage } from "./view/MemoryPage.tsx"
import { MeshPage } from "./view/MeshPage.tsx"
import { openPalette, Palette } from "./view/Palette.tsx"
import { openSignIn, SignIn } from "./view/SignIn.tsx"
import { StatsPage } from "./view/StatsPage.tsx"
import { TaskPage } from "./view/TaskPage.tsx"
import { TasksPage } from "./view/TasksPage.tsx"

const places: ReadonlyArray<readonly [view: View, label: string, icon: IconName, under: ReadonlyArray<View>]> = [
  ["mesh", "Mesh", "mesh", ["mesh"]],
  ["agents", "Agents", "agents", ["agents", "agent"]],
  ["tasks", "Tasks", "tasks", ["tasks", "task"]],
  ["consensus", "Consensus", "consensus", ["consensus"]],
  ["discover", "Discover", "discover", ["discover"]],
  ["memory", "Memory", "memory", ["memory"]],
  ["events", "Events", "events", ["events"]],
  ["stats", "Stats", "stats", ["stats"]]
]

const stateWords: { readonly [state in Stream.State]: string } = {
  connecting: "Connecting",
  live: "Live",
  "catching-up": "Catching up",
  reconnecting: "Reconnecting",
  "signed-out": "Signed out"
}

const Connection = () => {
  const state = Stream.state.value
  return (
    <span
      class={`pill ${state}`}
      title={`Event stream: ${stateWords[state]}, cursor ${Stream.cursor.value ?? "unknown"}`}
      data-state={state}
    >
      <i class="dot" aria-hidden="true" />
      <span class="state-word" role="status">
        {stateWords[state]}
      </span>
    </span>
  )
}

const Account = () => {
  const who = claims.value
  return token.value === undefined ? (
    <button type="button" class="button bare" onClick={openSignIn}>
      <Icon name="key" /> <span class="wide">Sign in</span>
      <span class="hidden-text">Sign in with a token</span>
    </button>
  ) : (
    <button type="button" class="button bare" title={`Signed in as ${who?.subject ?? "unknown"}`} onClick={signOut}>
      <Icon name="key" /> <span class="wide">Sign out</span>
      <span class="hidden-text">Sign out {who?.subject ?? ""}</span>
    </button>
  )
}

const Top = () => {
  void paint.value
  return (
    <header class="top">
      <a class="brand" href="/" aria-label="Parley, the mesh">
        <Icon name="mark" />
        <span>Parley</span>
      </a>
      <button type="button" class="finder" onClick={openPalette} aria-haspopup="dialog">
        <Icon name="discover" />
        <span class="cut">Search or do…</span>
        <kbd>{/Mac|iPhone/.test(navigator.userAgent) ? "⌘K" : "Ctrl K"}</kbd>
      </button>
      <div class="end">
        <Connection />
        <button
          type="button"
          class="button bare icon"
          onClick={toggle}
          aria-label={isDark() ? "Switch to light" : "Switch to dark"}
          title={isDark() ? "Switch to light" : "Switch to dark"}
        >
          <Icon name={isDark() ? "sun" : "moon"} />
        </button>
        <Account />
      </div>
    </header>
  )
}

const countOf = (view: View): number | undefined => {
  if (view === "agents") return agents.size
  return undefined
}

const Nav = () => {
  void version.value
  const { view } = route.value
  return (
    <nav class="nav" aria-label="Views">
      <ul>
        {places.map(([place, label, icon, under]) => {
          const number = countOf(place)
          return (
            <li key={place}>
              <a href={href(place)} aria-current={under.includes(view) ? "page" : undefined}>
                <Icon name={icon} />
                {label}
                {number === undefined ? null : <span class="count">{count(number)}</span>}
              </a>
            </li>
          )
        })}
      </ul>
    </nav>
  )
}

const Banner = () => {
  const gap = Stream.gap.value
  const problem = trouble.value
  if (Stream.state.value === "signed-out" || wanted.value !== undefined)
    return (
      <div class="banner" role="status">
        <span>This registry shows tasks, memory and events to those who sign in. {wanted.value}</span>
        <button type="button" class="button small" onClick={openSignIn}>
          Sign in
        </button>
      </div>
    )
  if (Stream.state.value === "reconnecting")
    return (
      <div class="banner" role="status">
        <span>The registry does not answer. What you see is from before; it goes on where it stopped.</span>
        <button type="button" class="button small" onClick={Stream.reconnect}>
          Try now
        </button>
      </div>
    )
  if (problem !== undefined)
    return (
      <div class="banner" role="status">
        <span>{problem}</span>
      </div>
    )
  if (gap !== undefined)
    return (
      <div class="banner" role="status">
        <span>
          Events after {gap.after} are no longer kept: the log has a gap there. Everything else was asked for anew.
        </span>
        <button type="button" class="button small" onClick={() => (Stream.gap.value = undefined)}>
          I see
        </button>
      </div>
    )
  return null
}

const CurrentView = () => {
  const { id, query, view } = route.value
  switch (view) {
    case "mesh":
      return <MeshPage />
    case "agents":
      return <AgentsPage query={query} />
    case "agent":
      return <AgentPage key={id!} id={id!} />
    case "tasks":
      return <TasksPage query={query} />
    case "task":
      return <TaskPage key={id!} id={id!} />
    case "consensus":
      return <ConsensusPage task={id} />
    case "discover":
      return <DiscoverPage query={query} />
    case "memory":
      return <MemoryPage session={id} />
    case "events":
      return <EventsPage query={query} />
    case "stats":
      return <StatsPage />
    case "nowhere":
      return (
        <div class="empty">
          <h1>There is nothing here</h1>
          <p>
            <a href="/">Back to the mesh</a>
          </p>
        </div>
      )
  }
}

export const App = () => {
  const { id, view } = route.value
  const main = useRef<HTMLElement>(null)
  const first = useRef(true)
  useEffect(() => {
    const name = places.find(([, , , under]) => under.includes(view))?.[1] ?? "Parley"
    document.title = id === undefined ? `${name} · Parley` : `${id.slice(0, 24)} · ${name} · Parley`
    // A new view begins where reading begins; not when the page is opened.
    if (!first.current) main.current?.focus({ preventScroll: true })
    first.current = false
  }, [view, id])
  return (
    <div class="frame">
      <a class="skip" href="#main">
        To the content
      </a>
      <Top />
      <Nav />
      <main id="main" class={`main ${view === "mesh" ? "full" : ""}`} tabIndex={-1} ref={main}>
        <Banner />
        <CurrentView />
      </main>
      <Palette />
      <SignIn />
      <div aria-live="polite" class={said.value === undefined ? "hidden-text" : "toast"}>
        {said.value}
      </div>
    </div>
  )
}
