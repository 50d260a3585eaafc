/** What a check of the doctor found. */
export interface Finding {
  /** What was looked at: `identity`, `port`, `relay`, … */
  readonly check: string
  /** `warn`: it works, and less well than it could. `fail`: it does not. */
  readonly verdict: "ok" | "warn" | "fail"
  /** For scripts; stays the same where words change. */
  readonly code: string
  /** What is so, for people. */
  readonly found: string
  /** What was tried to find that out. */
  readonly tried: string
  /** What to do; absent where nothing is to be done. */
  readonly advice?: string
}

/** Findings of one check. */
export const of =
  (check: string, tried: string) =>
  (verdict: Finding["verdict"], code: string, found: string, advice?: string): Finding => ({
    check,
    verdict,
    code,
    found,
    tried,
    ...(advice === undefined ? {} : { advice })
  })
