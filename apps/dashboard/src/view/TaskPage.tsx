/** One task: its waterfall, and each of its traces. */
import { useEffect } from "preact/hooks"
import * as Http from "../api/Http.ts"
import type { TraceEvent } from "../api/Types.ts"
import { millis, plural, time, fullTime } from "../parts/Format.ts"
import { AgentLink, CopyButton, Empty, Fact, JsonView, Notice, Panel, Pill, useAsk } from "../parts/Pieces.tsx"
import { Lane, Scale, toneOf, Track, wordOf } from "../parts/Waterfall.tsx"
import { href } from "../Router.ts"
import { listeners } from "../state/Boot.ts"
import { nameOf, version } from "../state/Mesh.ts"
import { taskOf } from "../state/Tasks.ts"

export const TaskPage = ({ id }: { readonly id: string }) => {
  void version.value
  const { again, busy, error, value } = useAsk(() => Http.traces({ task_id: id, limit: 1_000 }), [id])
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const listen = ({ data, type }: { readonly type: string; readonly data: unknown }): void => {
      if (type !== "trace" || (data as TraceEvent).task_id !== id) return
      timer ??= setTimeout(() => {
        timer = undefined
        again()
      }, 200)
    }
    listeners.add(listen)
    return () => {
      listeners.delete(listen)
      clearTimeout(timer)
    }
  }, [id])
  const task = value === undefined || value.items.length === 0 ? undefined : taskOf(id, value.items)
  const now = Date.now()
  const to =
    task === undefined
      ? 0
      : Math.max(task.end ?? 0, ...task.hops.flatMap(({ events }) => events.map(({ at }) => at)), task.start + 1)
  return (
    <div class="stack">
      <div class="head" style={{ marginBottom: 0 }}>
        <h1>{task?.capability ?? "Task"}</h1>
        {task === undefined ? null : <Pill tone={toneOf(task.outcome)}>{wordOf(task.outcome)}</Pill>}
        <span class="mono faint">
          {id} <CopyButton text={id} what="task id" />
        </span>
        <div class="end">
          <a class="button" href={href("consensus", id)}>
            Verdict
          </a>
        </div>
      </div>
      {error === undefined ? null : <Notice>{error}</Notice>}
      {task === undefined ? (
        busy ? null : (
          <section class="panel">
            <Empty title="No trace of this task">It may be older than what the registry keeps.</Empty>
          </section>
        )
      ) : (
        <>
          <section class="panel" aria-label="In short">
            <dl class="facts">
              <Fact name="Began" value={time(task.start)} />
              <Fact
                name="Took"
                value={task.end === undefined ? "unknown" : millis(task.end - task.start)}
                note={task.end === undefined ? "no trace says that it ended" : undefined}
              />
              <Fact name="Asked" value={plural(task.hops.length, "agent")} />
              <Fact name="Traces" value={task.events} />
            </dl>
          </section>
          <Panel
            title="Waterfall"
            end={
              <span class="key">
                <span>
                  <i style={{ background: "var(--wait)" }} /> asking, waiting
                </span>
                <span class="completed">
                  <i /> working
                </span>
                <span class="failed">
                  <i /> failed
                </span>
              </span>
            }
          >
            <Scale from={task.start} to={to} relative label="Executor" />
            <ul class="lanes">
              {task.hops.map((hop, i) => (
                <Lane
                  key={i}
                  label={<AgentLink id={hop.executor} />}
                  took={hop.end === undefined ? "" : millis(hop.end - hop.start)}
                  says={`${nameOf(hop.requester)} asked ${nameOf(hop.executor)}: ${wordOf(hop.outcome)}${hop.worked === undefined ? "" : `, worked ${millis(hop.worked)}`}`}
                >
                  <Track hop={hop} from={task.start} to={to} now={Math.min(now, to)} />
                </Lane>
              ))}
            </ul>
          </Panel>
          <Panel title="Traces" end={`${task.events}`} class="scroll">
            <table class="list">
              <thead>
                <tr>
                  <th scope="col" class="num">
                    After
                  </th>
                  <th scope="col">What</th>
                  <th scope="col">From</th>
                  <th scope="col">To</th>
                  <th scope="col">Payload</th>
                </tr>
              </thead>
              <tbody>
                {task.hops
                  .flatMap(({ events }) => events)
                  .sort((a, b) => a.at - b.at)
                  .map((event) => (
                    <tr key={event.trace_id}>
                      <td class="num" title={fullTime(event.at)}>
                        {millis(event.at - task.start)}
                      </td>
                      <td>
                        <Pill tone={event.event_type}>{event.event_type.replace("_", " ")}</Pill>
                      </td>
                      <td>
                        <AgentLink id={event.from_agent} />
                      </td>
                      <td>
                        <AgentLink id={event.to_agent} />
                      </td>
                      <td>
                        {Object.keys(event.payload).length === 0 ? (
                          <span class="faint">none</span>
                        ) : (
                          <details>
                            <summary>{plural(Object.keys(event.payload).length, "member")}</summary>
                            <JsonView value={event.payload} label="Payload" />
                          </details>
                        )}
                      </td>
                    </tr>
                  ))}
              </tbody>
            </table>
          </Panel>
        </>
      )}
    </div>
  )
}
