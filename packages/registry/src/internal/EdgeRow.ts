/**
 * What storage keeps of an edge: the row that `apply` gives and `restore` takes. It also holds what its report left of the agent's
 * and the capability's averages, so that the rows alone are all that a restart needs: the latest row says what holds now.
 */
import type * as Schema from "effect/Schema"

/** Averages of an agent or one of its capabilities, after the row's report. */
export interface RowAverages {
  readonly ema: number
  readonly unattestedEma: number
  readonly reports: number
  readonly attested: number
}

export interface Row {
  readonly agent: string
  readonly capability: string
  readonly reviewer: string
  /** Which report wrote it, counted from 1. */
  readonly report: number
  readonly step: number
  readonly good: number
  readonly bad: number
  readonly reports: number
  readonly attested: number
  /** The reviewer's place among the founders. */
  readonly founder: number | undefined
  readonly ofSubject: RowAverages
  readonly ofAgent: RowAverages
}

const averages = ({ attested, ema, reports, unattestedEma }: RowAverages) => [ema, unattestedEma, reports, attested]

/** A list, because there are as many as there are edges. */
export const toJson = (row: Row): Schema.Json => [
  1,
  row.agent,
  row.capability,
  row.reviewer,
  row.report,
  row.step,
  row.good,
  row.bad,
  row.reports,
  row.attested,
  row.founder ?? -1,
  averages(row.ofSubject),
  averages(row.ofAgent)
]

const isNumbers = (value: unknown, length: number): value is ReadonlyArray<number> =>
  Array.isArray(value) && value.length === length && value.every((each) => Number.isFinite(each))

const averagesOf = ([ema, unattestedEma, reports, attested]: ReadonlyArray<number>): RowAverages => ({
  ema: ema!,
  unattestedEma: unattestedEma!,
  reports: reports!,
  attested: attested!
})

/** Throws where a row makes no sense: the database holds something that this registry did not write. */
export const rowOf = (json: Schema.Json): Row => {
  const list: ReadonlyArray<Schema.Json> = Array.isArray(json) ? json : []
  const [version, agent, capability, reviewer, ...rest] = list
  const numbers = rest.slice(0, 7)
  const [ofSubject, ofAgent] = rest.slice(7)
  if (
    version !== 1 ||
    typeof agent !== "string" ||
    typeof capability !== "string" ||
    typeof reviewer !== "string" ||
    !isNumbers(numbers, 7) ||
    !isNumbers(ofSubject, 4) ||
    !isNumbers(ofAgent, 4)
  ) {
    throw new TypeError(
      `a row of the reputation cannot be read: ${JSON.stringify(json).slice(0, 200)}; another version may have written it`
    )
  }
  const [report, step, good, bad, reports, attested, founder] = numbers
  return {
    agent,
    capability,
    reviewer,
    report: report!,
    step: step!,
    good: good!,
    bad: bad!,
    reports: reports!,
    attested: attested!,
    founder: founder! < 0 ? undefined : founder!,
    ofSubject: averagesOf(ofSubject),
    ofAgent: averagesOf(ofAgent)
  }
}
