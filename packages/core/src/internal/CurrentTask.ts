/**
 * The task that a handler is running, within that handler's fibre: what it calls in turn inherits what is left of the
 * task's hops, deadline and budget, so that no chain of calls goes on for ever.
 */
import * as Context from "effect/Context"
import type { Task } from "../Node.ts"

/** The task that the present fibre serves, if it serves one. */
export const CurrentTask: Context.Reference<Task | undefined> = Context.Reference<Task | undefined>(
  "@parley/core/internal/CurrentTask",
  { defaultValue: () => undefined }
)
