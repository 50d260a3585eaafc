/** How statements are ordered and filed. */
import type { Alive, Statement } from "../Swim.ts"

/** Under which key anti-entropy holds a statement. */
export const keyOf = ({ _tag, subject }: Statement): string => (_tag === "Alive" ? `a${subject}` : `x${subject}`)

/** Orders what a subject says of itself: that it left follows that it lives. */
export const orderOf = ({ incarnation, left }: Alive): number => 2 * incarnation + (left ? 1 : 0)

/** The version under which anti-entropy holds a statement. */
export const versionOf = (statement: Statement): number =>
  statement._tag === "Alive" ? orderOf(statement) : statement.incarnation
