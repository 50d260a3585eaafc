/** `parley completions`: a shell's completion script. */
import type * as Command from "effect/cli/Command"
import * as Completions from "effect/cli/Completions"
import * as Effect from "effect/Effect"
import * as Output from "../Output.ts"

export const run = (shell: Completions.Shell, command: Command.Command.Any): Effect.Effect<void> =>
  Effect.suspend(() => Output.print(Completions.generate(command.name, shell, Completions.fromCommand(command))))
