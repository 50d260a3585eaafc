/** JSON to read, and not to copy: scalars as they are, the rest as a tree whose branches open. Always as text. */
import { useState } from "preact/hooks"
import type { Json } from "../api/Types.ts"
import { brief, count, plural } from "./Format.ts"

/** Members of one branch that are shown: a list of more is for programs. */
const MAX_MEMBERS = 200
/** Characters of a text in a tree, and of the line that tells what a closed branch holds. */
const MAX_TEXT = 2_000
const MAX_HINT = 160
/** Scalars that a branch shows at once even where it would be closed. */
const FLAT = 4

type Branch = ReadonlyArray<Json> | { readonly [key: string]: Json }

export const isBranch = (value: Json): value is Branch => typeof value === "object" && value !== null

/** What a branch holds, on one line: no quotes, names before values. */
const hintOf = (value: Branch): string => {
  const one = (value: Json): string =>
    !isBranch(value) ? brief(value, 40) : Array.isArray(value) ? `[${count(value.length)}]` : "{…}"
  // As many as fit; the rest of a large value is not even looked at.
  const text = Array.isArray(value)
    ? value.slice(0, 24).map(one).join(", ")
    : Object.entries(value)
        .slice(0, 24)
        .map(([key, value]) => `${key} ${one(value)}`)
        .join(", ")
  return brief(text, MAX_HINT)
}

const kindOf = (value: Json): string => (typeof value === "string" ? "s" : "n")

const Member = ({ name, open, value }: { readonly name: string; readonly value: Json; readonly open: boolean }) => {
  const [shown, setShown] = useState(open)
  if (!isBranch(value))
    return (
      <div class="leaf">
        <span class="k">{name}</span> <span class={kindOf(value)}>{brief(value, MAX_TEXT)}</span>
      </div>
    )
  return (
    <details open={open} onToggle={(event) => setShown(event.currentTarget.open)}>
      <summary>
        <span class="k">{name}</span> <span class="faint">{hintOf(value)}</span>
      </summary>
      {shown ? <Members value={value} depth={1} /> : null}
    </details>
  )
}

const Members = ({ depth, value }: { readonly value: Branch; readonly depth: number }) => {
  const all = Object.entries(value) as ReadonlyArray<readonly [string, Json]>
  const numbered = Array.isArray(value)
  return (
    <div class="members">
      {all.slice(0, MAX_MEMBERS).map(([key, member]) => (
        <Member
          key={key}
          name={numbered ? String(Number(key) + 1) : key}
          value={member}
          open={depth === 0 && isBranch(member) && Object.keys(member).length <= 8}
        />
      ))}
      {all.length > MAX_MEMBERS ? <p class="faint">and {plural(all.length - MAX_MEMBERS, "other")}</p> : null}
    </div>
  )
}

/** A value as a tree; a closed one shows a line of what it holds. */
export const JsonTree = ({
  closed = false,
  label,
  value
}: {
  readonly value: Json
  readonly label: string
  readonly closed?: boolean
}) => (
  // Whoever has no mouse scrolls it with the arrow keys.
  <div class="tree" tabIndex={0} role="region" aria-label={label}>
    {!isBranch(value) ? (
      <span class={kindOf(value)}>{brief(value, MAX_TEXT)}</span>
    ) : closed && (Object.keys(value).length > FLAT || Object.values(value).some(isBranch)) ? (
      <Member name={Array.isArray(value) ? "list" : "object"} value={value} open={false} />
    ) : (
      <Members value={value} depth={0} />
    )}
  </div>
)
