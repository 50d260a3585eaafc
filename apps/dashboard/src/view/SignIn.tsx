/** Signing in: with a token, or with AgentMesh's shared secret where the registry knows one. */
import { signal } from "@preact/signals"
import { useEffect, useRef, useState } from "preact/hooks"
import * as Http from "../api/Http.ts"
import { signIn } from "../api/Session.ts"
import { useDialog } from "../parts/Dialog.ts"
import { Notice, say } from "../parts/Pieces.tsx"

const open = signal(false)
export const openSignIn = (): void => {
  open.value = true
}

export const SignIn = () => {
  const dialog = useRef<HTMLDialogElement>(null)
  const [problem, setProblem] = useState<string | undefined>(undefined)
  const [way, setWay] = useState<"token" | "secret">("token")
  const onClose = useDialog(dialog, open)
  useEffect(() => setProblem(undefined), [open.value])

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    const form = event.currentTarget as HTMLFormElement
    const field = (name: string) => (form.elements.namedItem(name) as HTMLInputElement).value.trim()
    try {
      const token =
        way === "token" ? field("token") : (await Http.exchange(field("agent"), field("secret"))).access_token
      if (token === "") return setProblem("There is no token yet")
      await Http.tryToken(token)
      signIn(token)
      form.reset()
      open.value = false
      say("Signed in")
    } catch (cause) {
      setProblem(cause instanceof Error ? cause.message : String(cause))
    }
  }

  return (
    <dialog ref={dialog} aria-labelledby="sign-in-title" onClose={onClose}>
      <form class="form" onSubmit={(event) => void submit(event)} autocomplete="off">
        <h2 id="sign-in-title">Sign in to this registry</h2>
        <p class="soft small">
          The token stays in this tab until you close it. A node gets one by proving its key; an operator has one from
          the registry.
        </p>
        <div class="chips" role="group" aria-label="How">
          <button type="button" class="button small" aria-pressed={way === "token"} onClick={() => setWay("token")}>
            Token
          </button>
          <button type="button" class="button small" aria-pressed={way === "secret"} onClick={() => setWay("secret")}>
            Shared secret
          </button>
        </div>
        {way === "token" ? (
          <label class="field">
            Token
            <textarea class="input" name="token" rows={4} spellcheck={false} autocomplete="off" />
          </label>
        ) : (
          <>
            <label class="field">
              Agent
              <input class="input" name="agent" autocomplete="off" spellcheck={false} />
            </label>
            <label class="field">
              Secret
              <input class="input" name="secret" type="password" autocomplete="off" />
            </label>
          </>
        )}
        {problem === undefined ? null : <Notice>{problem}</Notice>}
        <div class="row">
          <button type="button" class="button" onClick={() => (open.value = false)}>
            Cancel
          </button>
          <button type="submit" class="button primary">
            Sign in
          </button>
        </div>
      </form>
    </dialog>
  )
}
