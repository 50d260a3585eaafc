/** Tasks as they went: a timeline of the last ones, and older ones page by page. */
import { useEffect, useState } from "preact/hooks"
import * as Http from "../api/Http.ts"
import type { TraceEvent } from "../api/Types.ts"
import { count, millis, plural, time } from "../parts/Format.ts"
import { Ago, AgentLink, Empty, Notice, Panel, Pill } from "../parts/Pieces.tsx"
import { Lane, Scale, toneOf, Track, wordOf } from "../parts/Waterfall.tsx"
import { go, href } from "../Router.ts"
import { listeners } from "../state/Boot.ts"
import { nameOf, shortId } from "../state/Mesh.ts"
import { merged, tasksOf, type Task } from "../state/Tasks.ts"

const PAGE = 400
/** Tasks of the timeline; the table has all that were asked for. */
const LANES = 14
/** Traces are taken in at most this often, in milliseconds. */
const CALM_MS = 250

/** Traces that match, and those that come. */
const useTraces = (query: {
  readonly agent: string | undefined
  readonly task_id: string | undefined
  readonly type: string | undefined
}) => {
  const [traces, setTraces] = useState<ReadonlyArray<TraceEvent>>([])
  const [next, setNext] = useState<string | undefined>(undefined)
  const [problem, setProblem] = useState<string | undefined>(undefined)
  const [busy, setBusy] = useState(true)
  const key = JSON.stringify(query)
  const ask = async (cursor: string | undefined, replace: boolean): Promise<void> => {
    setBusy(true)
    try {
      const page = await Http.traces({ limit: PAGE, cursor, ...query })
      setTraces((known) => (replace ? [...page.items] : merged(known, page.items)))
      setNext(page.next)
      setProblem(undefined)
    } catch (cause) {
      setProblem(cause instanceof Error ? cause.message : String(cause))
    }
    setBusy(false)
  }
  useEffect(() => {
    void ask(undefined, true)
    let held: Array<TraceEvent> = []
    let timer: ReturnType<typeof setTimeout> | undefined
    const listen = ({ data, type }: { readonly type: string; readonly data: unknown }): void => {
      if (type !== "trace") return
      const trace = data as TraceEvent
      if (query.agent !== undefined && trace.from_agent !== query.agent && trace.to_agent !== query.agent) return
      if (query.task_id !== undefined && trace.task_id !== query.task_id) return
      if (query.type !== undefined && trace.event_type !== query.type) return
      held.push(trace)
      timer ??= setTimeout(() => {
        timer = undefined
        const more = held
        held = []
        setTraces((known) => merged(known, more))
      }, CALM_MS)
    }
    listeners.add(listen)
    return () => {
      listeners.delete(listen)
      clearTimeout(timer)
    }
  }, [key])
  return { traces, next, problem, busy, more: () => void ask(next, false) }
}

const Who = ({ task }: { readonly task: Task }) => {
  const executors = task.hops.map(({ executor }) => executor)
  return (
    <>
      <AgentLink id={task.hops[0]!.requester} /> <span class="faint">asked</span>{" "}
      {executors.length === 1 ? <AgentLink id={executors[0]!} /> : plural(executors.length, "agent")}
    </>
  )
}

const Timeline = ({ tasks }: { readonly tasks: ReadonlyArray<Task> }) => {
  const shown = tasks.slice(0, LANES)
  if (shown.length === 0) return null
  const now = Date.now()
  const from = Math.min(...shown.map(({ start }) => start))
  const to = Math.max(
    ...shown.flatMap(({ end, hops, start }) => [
      end ?? start,
      ...hops.flatMap((hop) => hop.events.map(({ at }) => at))
    ]),
    from + 1
  )
  return (
    <Panel title="Timeline" end={`last ${shown.length}`}>
      <Scale from={from} to={to} relative={false} label="Task" />
      <ul class="lanes">
        {shown.map((task) => (
          <Lane
            key={task.id}
            label={
              <a href={href("tasks", task.id)} title={task.id}>
                {task.capability ?? shortId(task.id)}
              </a>
            }
            took={task.end === undefined ? "" : millis(task.end - task.start)}
            says={`${wordOf(task.outcome)}, began ${time(task.start)}`}
          >
            {task.hops.map((hop, i) => (
              <Track key={i} hop={hop} from={from} to={to} now={Math.min(now, to)} />
            ))}
          </Lane>
        ))}
      </ul>
    </Panel>
  )
}

export const TaskTable = ({ tasks }: { readonly tasks: ReadonlyArray<Task> }) => (
  <table class="list">
    <thead>
      <tr>
        <th scope="col">Task</th>
        <th scope="col">Who</th>
        <th scope="col">Ended</th>
        <th scope="col" class="num">
          Took
        </th>
        <th scope="col" class="wide">
          Began
        </th>
      </tr>
    </thead>
    <tbody>
      {tasks.map((task) => (
        <tr key={task.id}>
          <td>
            <a href={href("tasks", task.id)} class="mono" title={task.id}>
              {shortId(task.id)}
            </a>
            {task.capability === undefined ? null : <div class="small faint">{task.capability}</div>}
          </td>
          <td class="said">
            <Who task={task} />
          </td>
          <td>
            <Pill tone={toneOf(task.outcome)}>{wordOf(task.outcome)}</Pill>
          </td>
          <td class="num">
            {task.end === undefined ? <span class="faint">unknown</span> : millis(task.end - task.start)}
          </td>
          <td class="wide soft">
            <Ago at={task.start} />
          </td>
        </tr>
      ))}
    </tbody>
  </table>
)

export const TasksPage = ({ query }: { readonly query: URLSearchParams }) => {
  const agent = query.get("agent") ?? undefined
  const task = query.get("task") ?? undefined
  const outcome = query.get("ended") ?? undefined
  const { busy, more, next, problem, traces } = useTraces({ agent, task_id: task, type: undefined })
  const tasks = tasksOf(traces).filter((task) => outcome === undefined || task.outcome === outcome)
  const set = (patch: { readonly [name: string]: string | undefined }): void =>
    go(href("tasks", undefined, { ...Object.fromEntries(query), ...patch }), { replace: true })
  return (
    <div class="stack">
      <div class="head" style={{ marginBottom: 0 }}>
        <h1>Tasks</h1>
        <span class="faint" role="status">
          {busy && traces.length === 0
            ? "asking…"
            : `${plural(tasks.length, "task")} in ${plural(traces.length, "trace")}`}
        </span>
        <div class="end">
          {agent === undefined ? null : (
            <button
              type="button"
              class="button small"
              onClick={() => set({ agent: undefined })}
              aria-label={`No longer only ${nameOf(agent)}`}
            >
              {nameOf(agent)} ✕
            </button>
          )}
          <input
            class="input"
            style={{ width: "230px" }}
            type="search"
            placeholder="Task id"
            aria-label="Task id"
            value={task ?? ""}
            onChange={(event) => set({ task: event.currentTarget.value.trim() })}
          />
          <select
            class="input"
            style={{ width: "168px" }}
            aria-label="How it ended"
            value={outcome ?? ""}
            onChange={(event) => set({ ended: event.currentTarget.value })}
          >
            <option value="">however ended</option>
            <option value="completed">completed</option>
            <option value="failed">failed</option>
            <option value="rejected">rejected</option>
            <option value="open">not ended</option>
          </select>
        </div>
      </div>
      {problem === undefined ? null : <Notice>{problem}</Notice>}
      <Timeline tasks={tasks} />
      <Panel title="All" end={`${count(tasks.length)} shown`} class="scroll">
        {tasks.length === 0 && !busy ? (
          <Empty title="No tasks">Traces of what agents do for each other appear here as they come.</Empty>
        ) : (
          <TaskTable tasks={tasks} />
        )}
        {next === undefined ? null : (
          <div class="body">
            <button type="button" class="button" disabled={busy} onClick={more}>
              Older
            </button>
          </div>
        )}
      </Panel>
    </div>
  )
}
