/** `parley doctor`: what is wrong here, or with the way to a peer, and what to do. */
import * as Effect from "effect/Effect"
import * as Doctor from "@parley/agent/Doctor"
import { ExitCode, Unsuccessful } from "../Failure.ts"
import type * as Flags from "../Flags.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"

const lines = ({ advice, check, found, verdict }: Doctor.Finding): string =>
  [
    `${verdict.padEnd(4)}  ${check.padEnd(10)}  ${Output.harmless(Output.oneLine(found))}`,
    ...(advice === undefined ? [] : [`${" ".repeat(18)}→ ${Output.harmless(Output.oneLine(advice))}`])
  ].join("\n")

export const run = Effect.fnUntraced(function* (options: Flags.Doctor & Flags.Common) {
  const node = yield* Settings.node(options)
  const { port, host } = options
  const target = options.target === undefined ? undefined : yield* Settings.target(options.target)
  const findings = yield* Doctor.examine({
    ...node,
    identity: yield* Settings.ownFile(options),
    ...(port === undefined ? {} : { port }),
    ...(host === undefined ? {} : { host }),
    ...(options.noListen ? { listen: false } : {}),
    portMapping: options.mapPort,
    ...(target === undefined ? {} : { peer: target }),
    onFinding: (finding) => {
      // One after the other, as they are made: some take seconds.
      if (!options.json && (!options.quiet || finding.verdict !== "ok")) process.stdout.write(`${lines(finding)}\n`)
    }
  })
  const isWell = Doctor.isWell(findings)
  if (options.json) yield* Output.print(JSON.stringify({ well: isWell, findings }))
  if (!isWell) return yield* new Unsuccessful({ exitCode: ExitCode.TaskFailed })
})
