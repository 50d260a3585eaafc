/** Ctrl K or ⌘ K: go anywhere, do anything, by keyboard. */
import { signal } from "@preact/signals"
import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import * as Http from "../api/Http.ts"
import { signOut, token } from "../api/Session.ts"
import type { AgentRecord, CapabilitySummary } from "../api/Types.ts"
import { plural } from "../parts/Format.ts"
import { Icon, type IconName } from "../parts/Icons.tsx"
import { useDialog } from "../parts/Dialog.ts"
import { copy } from "../parts/Pieces.tsx"
import { go, href, route } from "../Router.ts"
import { filtered } from "../state/Filter.ts"
import { agents, nameOf, shortId } from "../state/Mesh.ts"
import * as Stream from "../state/Stream.ts"
import { isDark, theme, toggle } from "../state/Theme.ts"
import * as MeshPage from "./MeshPage.tsx"
import { openSignIn } from "./SignIn.tsx"

const open = signal(false)
export const openPalette = (): void => {
  open.value = true
}

interface Action {
  readonly key: string
  readonly label: string
  readonly hint: string
  readonly icon: IconName
  readonly group: string
  readonly run: () => void
}

/** Agents and capabilities offered at most. */
const OFFERED = 8
/** The registry is asked for what is typed after so long without another key, in milliseconds. */
const ASK_MS = 150

const show = (status: "healthy" | "degraded" | "offline" | undefined) => () => {
  MeshPage.status.value = status
  MeshPage.text.value = ""
  go(href("mesh"))
}

const ofPlace = (): ReadonlyArray<Action> => {
  const { id, view } = route.peek()
  if (view === "agent" && id !== undefined)
    return [
      {
        key: "copy-id",
        label: `Copy the id of ${nameOf(id)}`,
        hint: shortId(id),
        icon: "copy",
        group: "This agent",
        run: () => void copy(id, "id")
      },
      {
        key: "its-tasks",
        label: `Tasks of ${nameOf(id)}`,
        hint: "",
        icon: "tasks",
        group: "This agent",
        run: () => go(href("tasks", undefined, { agent: id }))
      },
      {
        key: "its-events",
        label: `Events of ${nameOf(id)}`,
        hint: "",
        icon: "events",
        group: "This agent",
        run: () => go(href("events", undefined, { q: id }))
      }
    ]
  if (view === "task" && id !== undefined)
    return [
      {
        key: "copy-task",
        label: "Copy the id of this task",
        hint: shortId(id),
        icon: "copy",
        group: "This task",
        run: () => void copy(id, "task id")
      },
      {
        key: "its-verdict",
        label: "Its verdict",
        hint: "",
        icon: "consensus",
        group: "This task",
        run: () => go(href("consensus", id))
      }
    ]
  return []
}

const always = (): ReadonlyArray<Action> => {
  const places: ReadonlyArray<readonly [string, string, IconName]> = [
    ["mesh", "Mesh", "mesh"],
    ["agents", "Agents", "agents"],
    ["tasks", "Tasks", "tasks"],
    ["consensus", "Consensus", "consensus"],
    ["discover", "Discover", "discover"],
    ["memory", "Session memory", "memory"],
    ["events", "Events", "events"],
    ["stats", "Stats", "stats"]
  ]
  return [
    ...places.map(([view, label, icon]): Action => ({
      key: `go-${view}`,
      label: `Go to ${label}`,
      hint: "",
      icon,
      group: "Go",
      run: () => go(href(view))
    })),
    {
      key: "theme",
      label: isDark() ? "Switch to light" : "Switch to dark",
      hint: "theme",
      icon: isDark() ? "sun" : "moon",
      group: "Do",
      run: toggle
    },
    {
      key: "theme-system",
      label: "Light or dark as the system",
      hint: "theme",
      icon: "sun",
      group: "Do",
      run: () => (theme.value = "system")
    },
    {
      key: "show-degraded",
      label: "Show degraded agents",
      hint: "filter",
      icon: "agents",
      group: "Do",
      run: show("degraded")
    },
    {
      key: "show-offline",
      label: "Show offline agents",
      hint: "filter",
      icon: "agents",
      group: "Do",
      run: show("offline")
    },
    { key: "show-all", label: "Show all agents", hint: "filter", icon: "agents", group: "Do", run: show(undefined) },
    {
      key: "check",
      label: "Check a certificate",
      hint: "consensus",
      icon: "seal",
      group: "Do",
      run: () => go(href("consensus", "check"))
    },
    token.peek() === undefined
      ? { key: "sign-in", label: "Sign in", hint: "token", icon: "key", group: "Do", run: openSignIn }
      : { key: "sign-out", label: "Sign out", hint: "token", icon: "key", group: "Do", run: signOut },
    {
      key: "reconnect",
      label: "Connect again",
      hint: "event stream",
      icon: "refresh",
      group: "Do",
      run: Stream.reconnect
    },
    {
      key: "copy-link",
      label: "Copy the link of this page",
      hint: "",
      icon: "copy",
      group: "Do",
      run: () => void copy(location.href, "link")
    }
  ]
}

const ofAgent = ({ manifest, status }: AgentRecord): Action => ({
  key: `agent-${manifest.agent_id}`,
  label: manifest.name || manifest.agent_id,
  hint: `${status}, ${shortId(manifest.agent_id)}`,
  icon: "agents",
  group: "Agents",
  run: () => go(href("agents", manifest.agent_id))
})

const ofCapability = ({ agents, name }: CapabilitySummary): Action => ({
  key: `capability-${name}`,
  label: name,
  hint: plural(agents, "agent"),
  icon: "discover",
  group: "Capabilities",
  run: () => go(href("discover", undefined, { name }))
})

/** Whether all letters stand in the text, in this order: `gst` finds "Go to Stats". */
const matches = (text: string, typed: string): boolean => {
  let at = 0
  const low = text.toLowerCase()
  for (const letter of typed.toLowerCase().replaceAll(" ", "")) {
    at = low.indexOf(letter, at) + 1
    if (at === 0) return false
  }
  return true
}

/** What the registry found, and why it found no more. */
interface Found {
  readonly of: string
  readonly capabilities: ReadonlyArray<CapabilitySummary>
  readonly agents: ReadonlyArray<AgentRecord>
  readonly problem?: string
}

const useActions = (typed: string): { readonly actions: ReadonlyArray<Action>; readonly problem?: string } => {
  const [found, setFound] = useState<Found>({ of: "", capabilities: [], agents: [] })
  const text = typed.trim()
  useEffect(() => {
    if (text.length < 2) return
    let current = true
    const timer = setTimeout(async () => {
      const [capabilities, page] = await Promise.allSettled([
        Http.capabilities(text, OFFERED),
        // Past what this page holds, the registry's own search finds agents.
        Http.agents({ limit: OFFERED, q: text })
      ])
      const failed = [capabilities, page].find((each) => each.status === "rejected")
      const told: Found = {
        of: text,
        capabilities: capabilities.status === "fulfilled" ? capabilities.value : [],
        agents: page.status === "fulfilled" ? page.value.items : [],
        ...(failed === undefined ? {} : { problem: (failed.reason as Error).message })
      }
      if (current) setFound(told)
    }, ASK_MS)
    return () => {
      current = false
      clearTimeout(timer)
    }
  }, [text])
  const actions = useMemo(() => {
    const own = [...ofPlace(), ...always()].filter(({ label }) => matches(label, text))
    if (text === "") return own
    const near = filtered({ text, order: "name" }).slice(0, OFFERED)
    const known = new Set(near.map(({ manifest }) => manifest.agent_id))
    const far = found.of === text ? found.agents.filter(({ manifest }) => !known.has(manifest.agent_id)) : []
    const tasks: ReadonlyArray<Action> = /^[0-9a-f]{8,64}$|^task-/.test(text)
      ? [
          {
            key: "task",
            label: `Task ${text}`,
            hint: "waterfall",
            icon: "tasks",
            group: "Tasks",
            run: () => go(href("tasks", text))
          }
        ]
      : []
    return [
      ...near.map(ofAgent),
      ...far.slice(0, Math.max(0, OFFERED - near.length)).map(ofAgent),
      ...tasks,
      ...own,
      ...(found.of === text ? found.capabilities.map(ofCapability) : []),
      {
        key: "discover",
        label: `Discover “${text}”`,
        hint: "in plain words",
        icon: "discover",
        group: "Search",
        run: () => go(href("discover", undefined, { words: text }))
      },
      {
        key: "events",
        label: `Events with “${text}”`,
        hint: "log",
        icon: "events",
        group: "Search",
        run: () => go(href("events", undefined, { q: text }))
      }
    ] satisfies ReadonlyArray<Action>
  }, [text, found, open.value, agents.size])
  return found.of === text && found.problem !== undefined ? { actions, problem: found.problem } : { actions }
}

const Inner = () => {
  const [typed, setTyped] = useState("")
  const [at, setAt] = useState(0)
  const { actions, problem } = useActions(typed)
  const list = useRef<HTMLUListElement>(null)
  const chosen = Math.min(at, actions.length - 1)
  useEffect(
    () => list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" }),
    [chosen, actions]
  )
  const run = (action: Action | undefined): void => {
    if (action === undefined) return
    open.value = false
    action.run()
  }
  const onKey = (event: KeyboardEvent): void => {
    const many = actions.length
    const to = { ArrowDown: (chosen + 1) % many, ArrowUp: (chosen - 1 + many) % many, Home: 0, End: many - 1 }[
      event.key
    ]
    if (to !== undefined && many > 0 && !(event.key === "Home" || event.key === "End")) {
      event.preventDefault()
      setAt(to)
    } else if (event.key === "Enter") {
      event.preventDefault()
      run(actions[chosen])
    }
  }
  let group = ""
  return (
    <>
      <input
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-autocomplete="list"
        aria-activedescendant={chosen >= 0 ? `palette-${chosen}` : undefined}
        aria-label="Search or do"
        placeholder="Agent, capability, task, or what to do"
        autocomplete="off"
        spellcheck={false}
        autoFocus
        value={typed}
        onInput={(event) => {
          setTyped(event.currentTarget.value)
          setAt(0)
        }}
        onKeyDown={onKey}
      />
      <ul id="palette-list" role="listbox" aria-label="Found" ref={list}>
        {actions.map((action, i) => {
          const heading = action.group === group ? null : (group = action.group)
          return (
            <>
              {heading === null ? null : (
                <li key={`g-${heading}`} class="group" role="presentation">
                  {heading}
                </li>
              )}
              <li
                key={action.key}
                id={`palette-${i}`}
                role="option"
                aria-selected={i === chosen}
                onClick={() => run(action)}
                onPointerMove={() => i !== chosen && setAt(i)}
              >
                <span class="row" style={{ flexWrap: "nowrap" }}>
                  <Icon name={action.icon} />
                  <span class="cut">{action.label}</span>
                </span>
                <span class="hint cut">{action.hint}</span>
              </li>
            </>
          )
        })}
      </ul>
      {actions.length === 0 ? <p class="none">Nothing matches</p> : null}
      {problem === undefined ? null : (
        <p class="none" role="status">
          What this page does not hold was not searched: {problem}
        </p>
      )}
    </>
  )
}

export const Palette = () => {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
        event.preventDefault()
        open.value = !open.value
      } else if (
        event.key === "/" &&
        !(
          event.target instanceof HTMLInputElement ||
          event.target instanceof HTMLTextAreaElement ||
          event.target instanceof HTMLSelectElement
        )
      ) {
        event.preventDefault()
        open.value = true
      }
    }
    addEventListener("keydown", onKey)
    return () => removeEventListener("keydown", onKey)
  }, [])
  const onClose = useDialog(dialog, open)
  return (
    <dialog
      class="palette"
      ref={dialog}
      aria-label="Search or do"
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && (open.value = false)}
    >
      {open.value ? <Inner /> : null}
    </dialog>
  )
}
