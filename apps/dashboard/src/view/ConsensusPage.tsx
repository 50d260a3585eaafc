/** What several agents were asked together: the question, the votes, the dissent, and the certificate, checked here. */
import { useEffect, useState } from "preact/hooks"
import * as Http from "../api/Http.ts"
import type { Json, Verdict } from "../api/Types.ts"
import { brief, count, fullTime, millis, percent, plural, score, UNKNOWN } from "../parts/Format.ts"
import { isBranch, JsonTree } from "../parts/JsonTree.tsx"
import { Ago, AgentLink, CopyButton, Empty, Fact, JsonView, Notice, Panel, Pill, useAsk } from "../parts/Pieces.tsx"
import { Seal } from "../parts/Seal.tsx"
import { href } from "../Router.ts"
import { verdictVersion } from "../state/Boot.ts"
import { nameOf, version } from "../state/Mesh.ts"
import * as Question from "../state/Question.ts"
import { useChecked } from "../verify/Verification.ts"

const PAGE = 100

/** The parts of a certificate that are shown, as far as they are there: it is checked apart from this. */
interface Shown {
  readonly asker?: string
  readonly aggregation?: string
  readonly selection?: string
  readonly invited?: ReadonlyArray<{ readonly node: string; readonly trust: number }>
  readonly answers?: ReadonlyArray<{
    readonly node: string
    readonly latencyMs: number
    readonly receipt?: { readonly finishedAt: number }
  }>
  readonly outcome?: {
    readonly status?: string
    readonly value?: Json
    readonly confidence?: number
    readonly rule?: string
    readonly votes?: ReadonlyArray<{
      readonly value: Json
      readonly weight: number
      readonly nodes: ReadonlyArray<string>
    }>
    readonly dissent?: ReadonlyArray<string>
  }
}

/** Reads what is shown of a certificate; a part that is not what it should be is left out. */
const shownOf = (certificate: unknown): Shown => {
  const object = (value: unknown): { readonly [key: string]: unknown } =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as { readonly [key: string]: unknown })
      : {}
  const list = (value: unknown): ReadonlyArray<{ readonly [key: string]: unknown }> =>
    Array.isArray(value) ? value.map(object) : []
  const texts = (value: unknown): ReadonlyArray<string> =>
    Array.isArray(value) ? value.filter((one) => typeof one === "string") : []
  const number = (value: unknown): number => (typeof value === "number" ? value : Number.NaN)
  const whole = object(certificate)
  const outcome = object(whole["outcome"])
  return {
    ...(typeof whole["asker"] === "string" ? { asker: whole["asker"] } : {}),
    ...(typeof whole["aggregation"] === "string" ? { aggregation: whole["aggregation"] } : {}),
    ...(typeof whole["selection"] === "string" ? { selection: whole["selection"] } : {}),
    invited: list(whole["invited"]).flatMap(({ node, trust }) =>
      typeof node === "string" ? [{ node, trust: number(trust) }] : []
    ),
    answers: list(whole["answers"]).flatMap(({ latencyMs, node, receipt }) =>
      typeof node === "string"
        ? [{ node, latencyMs: number(latencyMs), receipt: { finishedAt: number(object(receipt)["finishedAt"]) } }]
        : []
    ),
    outcome: {
      ...(typeof outcome["status"] === "string" ? { status: outcome["status"] } : {}),
      ...(outcome["value"] === undefined ? {} : { value: outcome["value"] as Json }),
      ...(typeof outcome["confidence"] === "number" ? { confidence: outcome["confidence"] } : {}),
      ...(typeof outcome["rule"] === "string" ? { rule: outcome["rule"] } : {}),
      votes: list(outcome["votes"]).map(({ nodes, value, weight }) => ({
        value: value as Json,
        weight: number(weight),
        nodes: texts(nodes)
      })),
      dissent: texts(outcome["dissent"])
    }
  }
}

/** Differences that are told: a value that differs everywhere is read in its tree. */
const MAX_DIFFERENCES = 6

/** Where a value is not what was agreed, one line each. */
const differencesOf = (agreed: Json, value: Json): ReadonlyArray<string> => {
  const lines: Array<string> = []
  const visit = (one: Json | undefined, other: Json | undefined, at: string): void => {
    if (lines.length > MAX_DIFFERENCES || JSON.stringify(one) === JSON.stringify(other)) return
    if (one !== undefined && other !== undefined && isBranch(one) && isBranch(other)) {
      const [left, right] = [one, other] as ReadonlyArray<{ readonly [key: string]: Json }>
      const step = (key: string): string => (Array.isArray(one) ? `${Number(key) + 1}` : key)
      for (const key of new Set([...Object.keys(left!), ...Object.keys(right!)]))
        visit(left![key], right![key], at === "" ? step(key) : `${at} › ${step(key)}`)
    } else
      lines.push(
        `${at || "value"}: ${other === undefined ? "nothing" : brief(other, 60)}, agreed ${one === undefined ? "nothing" : brief(one, 60)}`
      )
  }
  visit(agreed, value, "")
  return lines.length > MAX_DIFFERENCES ? [...lines.slice(0, MAX_DIFFERENCES), "and more"] : lines
}

const voteTone = (agreed: boolean): string => (agreed ? "ok" : "warn")

const Votes = ({ shown }: { readonly shown: Shown }) => {
  const { answers = [], invited = [], outcome } = shown
  const votes = outcome?.votes ?? []
  const total = votes.reduce((sum, { weight }) => sum + weight, 0)
  const answered = new Set(answers.map(({ node }) => node))
  const silent = invited.filter(({ node }) => !answered.has(node))
  const trustOf = new Map(invited.map(({ node, trust }) => [node, trust]))
  const agreed = JSON.stringify(outcome?.value)
  const differences = (value: Json): ReadonlyArray<string> =>
    outcome?.status === "reached" && outcome.value !== undefined && isBranch(value)
      ? differencesOf(outcome.value, value)
      : []
  return (
    <Panel title="Votes" end={`${plural(answers.length, "answer")} of ${count(invited.length)} asked`}>
      {votes.map(({ nodes, value, weight }, i) => {
        const isAgreed =
          outcome?.status === "reached" &&
          (JSON.stringify(value) === agreed || nodes.every((node) => !outcome.dissent?.includes(node)))
        return (
          <div key={i} class={`vote ${voteTone(isAgreed)}`}>
            <div class="row">
              <span class="row">
                <Pill tone={voteTone(isAgreed)}>
                  {isAgreed ? "agreed" : outcome?.status === "reached" ? "dissent" : "vote"}
                </Pill>
                <span class="small soft">{plural(nodes.length, "agent")}</span>
              </span>
              <span class="num small">weight {Number.isFinite(weight) ? weight.toFixed(2) : UNKNOWN}</span>
            </div>
            <div class="bar" aria-hidden="true">
              <i style={{ width: `${total > 0 ? (weight / total) * 100 : 0}%` }} />
            </div>
            <JsonTree value={value} label="Value" closed />
            {isAgreed
              ? null
              : differences(value).map((line) => (
                  <p key={line} class="small differs">
                    {line}
                  </p>
                ))}
            <div class="chips">
              {nodes.map((node) => (
                <span key={node} class="tag" title={node}>
                  <AgentLink id={node} /> <span class="faint">trust {score(trustOf.get(node))}</span>
                </span>
              ))}
            </div>
          </div>
        )
      })}
      {silent.length === 0 ? null : (
        <div class="vote">
          <div class="row">
            <Pill tone="none">no answer</Pill>
          </div>
          <div class="chips">
            {silent.map(({ node }) => (
              <span key={node} class="tag" title={node}>
                <AgentLink id={node} />
              </span>
            ))}
          </div>
        </div>
      )}
    </Panel>
  )
}

const Receipts = ({ shown }: { readonly shown: Shown }) => (
  <Panel title="Receipts" class="scroll" end="each signed by who did the work">
    <table class="list">
      <thead>
        <tr>
          <th scope="col">Agent</th>
          <th scope="col" class="num">
            Answered in
          </th>
          <th scope="col">Finished</th>
        </tr>
      </thead>
      <tbody>
        {(shown.answers ?? []).map(({ latencyMs, node, receipt }) => (
          <tr key={node}>
            <td>
              <AgentLink id={node} />
            </td>
            <td class="num">{millis(latencyMs)}</td>
            <td class="soft">{fullTime(receipt?.finishedAt ?? Number.NaN)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  </Panel>
)

/** What was agreed: a word or a number is read from afar, more is a tree. */
const Agreed = ({ value }: { readonly value: Json | undefined }) => {
  if (value === undefined) return <p class="verdict-value unknown">nothing was agreed</p>
  if (!isBranch(value)) return <p class="verdict-value">{brief(value, 4_000)}</p>
  const [only, ...others] = Object.entries(value) as ReadonlyArray<readonly [string, Json]>
  if (only !== undefined && others.length === 0 && !Array.isArray(value) && !isBranch(only[1]))
    return (
      <p class="verdict-value">
        <small class="faint">{only[0]}</small> {brief(only[1], 4_000)}
      </p>
    )
  return <JsonTree value={value} label="What was agreed" />
}

const Asked = ({ question }: { readonly question: Json }) => {
  const told = Question.read(question)
  if (told.kind === "whole" && isBranch(told.value)) return <JsonTree value={told.value} label="Question" />
  const text = told.kind === "cut" ? told.text : brief(told.value, 20_000)
  return (
    <>
      {told.kind === "cut" ? (
        <p class="small faint" style={{ marginBottom: "6px" }}>
          Cut: its asker told only how it begins. The receipts are over all of it.
        </p>
      ) : null}
      <pre class="text" tabIndex={0} role="region" aria-label="Question">
        {told.kind === "cut" ? `${text}…` : text}
      </pre>
    </>
  )
}

const Detail = ({
  certificate,
  question,
  verdict
}: {
  readonly certificate: unknown
  readonly question: Json | undefined
  readonly verdict: Verdict | undefined
}) => {
  void version.value
  const checked = useChecked({ what: "certificate", value: certificate })
  const shown = shownOf(certificate)
  const { outcome } = shown
  return (
    <div class="stack">
      <Seal
        checked={checked}
        covers="Every receipt's signature, the count of the votes and the asker's signature were computed again"
      />
      <section class="panel" aria-label="Verdict">
        <div class="body">
          <div class="row" style={{ marginBottom: "10px" }}>
            <Pill tone={outcome?.status ?? "none"}>{outcome?.status ?? UNKNOWN}</Pill>
            <span class="soft mono">{verdict?.capability}</span>
            {verdict === undefined ? null : (
              <span class="small faint">
                <Ago at={Date.parse(verdict.at)} />, told by {nameOf(verdict.published_by)}
              </span>
            )}
          </div>
          <Agreed value={outcome?.value} />
        </div>
        <dl class="facts" style={{ borderTop: "1px solid var(--line)" }}>
          <Fact name="Rule" value={outcome?.rule ?? UNKNOWN} />
          <Fact
            name="Confidence"
            value={outcome?.confidence === undefined ? UNKNOWN : percent(outcome.confidence)}
            note="of invited weight"
          />
          <Fact name="Asked" value={count(shown.invited?.length)} />
          <Fact name="Dissent" value={count(outcome?.dissent?.length)} />
        </dl>
      </section>
      <Panel title="Question">
        <div class="body">
          {question === undefined ? <span class="unknown">unknown</span> : <Asked question={question} />}
        </div>
      </Panel>
      <Votes shown={shown} />
      <Receipts shown={shown} />
      <Panel title="Certificate" end={<CopyButton text={JSON.stringify(certificate)} what="certificate" />}>
        <div class="body">
          <dl class="pairs">
            <dt>Asked by</dt>
            <dd>{shown.asker === undefined ? UNKNOWN : <AgentLink id={shown.asker} />}</dd>
            <dt>Selection</dt>
            <dd class="mono">{shown.selection ?? UNKNOWN}</dd>
            <dt>Aggregation</dt>
            <dd class="mono">{shown.aggregation ?? UNKNOWN}</dd>
          </dl>
          <details style={{ marginTop: "10px" }}>
            <summary>As it was signed</summary>
            <JsonView value={certificate} label="Certificate" />
          </details>
        </div>
      </Panel>
    </div>
  )
}

const OfTask = ({ task }: { readonly task: string }) => {
  const { busy, error, value } = useAsk(() => Http.verdict(task), [task])
  if (value === undefined)
    return busy ? (
      <p class="faint">asking…</p>
    ) : (
      <section class="panel">
        <Empty title="No verdict">{error}</Empty>
      </section>
    )
  return (
    <>
      <div class="head">
        <h2 class="mono">
          {task} <CopyButton text={task} what="task id" />
        </h2>
        <div class="end">
          <a class="button small" href={href("tasks", task)}>
            Its waterfall
          </a>
        </div>
      </div>
      <Detail certificate={value.certificate} question={value.question} verdict={value} />
    </>
  )
}

/** Somebody else's certificate: it need not be of this registry. */
const Foreign = () => {
  const [text, setText] = useState("")
  const [certificate, setCertificate] = useState<unknown>(undefined)
  const [problem, setProblem] = useState<string | undefined>(undefined)
  const check = (): void => {
    try {
      setCertificate(JSON.parse(text))
      setProblem(undefined)
    } catch (cause) {
      setCertificate(undefined)
      setProblem(`Not JSON: ${cause instanceof Error ? cause.message : String(cause)}`)
    }
  }
  return (
    <div class="stack">
      <Panel title="Check a certificate">
        <div class="body stack">
          <label class="field">
            Paste the JSON of any certificate; it stays in this browser
            <textarea
              class="input"
              rows={6}
              spellcheck={false}
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          </label>
          <div>
            <button type="button" class="button primary" disabled={text.trim() === ""} onClick={check}>
              Check
            </button>
          </div>
          {problem === undefined ? null : <Notice>{problem}</Notice>}
        </div>
      </Panel>
      {certificate === undefined ? null : (
        <Detail
          certificate={certificate}
          question={(certificate as { readonly input?: Json } | null)?.input}
          verdict={undefined}
        />
      )}
    </div>
  )
}

export const ConsensusPage = ({ task }: { readonly task: string | undefined }) => {
  void version.value
  const turn = verdictVersion.value
  const list = useAsk(() => Http.verdicts({ limit: PAGE }), [])
  useEffect(() => {
    if (turn > 0) list.again()
  }, [turn])
  const items = list.value?.items ?? []
  const chosen = task ?? items[0]?.task
  return (
    <>
      <div class="head">
        <h1>Consensus</h1>
        <span class="faint" role="status">
          {list.value === undefined ? "" : plural(items.length, "verdict")}
        </span>
        <div class="end">
          <a class="button" href={href("consensus", "check")}>
            Check a certificate
          </a>
        </div>
      </div>
      {list.error === undefined ? null : <Notice>{list.error}</Notice>}
      <div class="split">
        <section class="panel choices" aria-label="Verdicts" tabIndex={0}>
          {items.length === 0 ? (
            <Empty title="No verdicts yet">A node that asks several can publish what they agreed on.</Empty>
          ) : (
            <ul>
              {items.map((verdict) => {
                const { answers = [], asker, invited = [], outcome } = shownOf(verdict.certificate)
                const agreed = outcome?.status === "reached" ? answers.length - (outcome.dissent?.length ?? 0) : 0
                return (
                  <li key={verdict.cursor}>
                    <a
                      href={href("consensus", verdict.task)}
                      aria-current={verdict.task === chosen ? "true" : undefined}
                    >
                      <span class="ends">
                        <strong class="cut">{verdict.capability}</strong>
                        <span class="small faint">
                          <Ago at={Date.parse(verdict.at)} />
                        </span>
                      </span>
                      <span class="cut small soft">{Question.inOneLine(verdict.question)}</span>
                      <span class="row small">
                        <Pill tone={outcome?.status ?? "none"}>{outcome?.status ?? UNKNOWN}</Pill>
                        <span class="soft">
                          {agreed > 0
                            ? `${count(agreed)} of ${count(invited.length)}`
                            : `${count(answers.length)} of ${count(invited.length)} answered`}
                        </span>
                        <span class="faint cut">
                          asked by {asker === undefined ? verdict.published_by : nameOf(asker)}
                        </span>
                      </span>
                    </a>
                  </li>
                )
              })}
            </ul>
          )}
        </section>
        <div style={{ minWidth: 0 }}>
          {task === "check" ? <Foreign /> : chosen === undefined ? null : <OfTask key={chosen} task={chosen} />}
        </div>
      </div>
    </>
  )
}
