/** The evidence chain's links: each hash covers the one before it and the report. */
import { createHash } from "node:crypto"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import type { Report } from "../Event.ts"

/** The link after another. */
export const next = (
  previous: { readonly seq: number; readonly hash: string },
  report: Report
): { readonly seq: number; readonly hash: string } => ({
  seq: previous.seq + 1,
  hash: createHash("sha256")
    .update(`${previous.seq + 1}\n${previous.hash}\n`)
    .update(CanonicalJson.bytes(report))
    .digest("hex")
})
