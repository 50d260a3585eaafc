/** What a check in this browser found. */
import type { Checked } from "../verify/Verification.ts"
import { millis } from "./Format.ts"
import { Icon } from "./Icons.tsx"

export const Seal = ({ checked, covers }: { readonly checked: Checked | undefined; readonly covers: string }) => {
  if (checked === undefined)
    return (
      <div class="seal none" role="status">
        <Icon name="refresh" />
        <strong>Checking in this browser…</strong>
      </div>
    )
  return checked.valid ? (
    <div class="seal ok" role="status" data-valid="true">
      <Icon name="seal" />
      <div>
        <strong>Verified in this browser</strong>
        <p>
          {checked.summary}. {covers} in {millis(checked.millis)}.
        </p>
      </div>
    </div>
  ) : (
    <div class="seal bad" role="alert" data-valid="false">
      <Icon name="broken" />
      <div>
        <strong>Not valid</strong>
        <p>{checked.message}</p>
      </div>
    </div>
  )
}
