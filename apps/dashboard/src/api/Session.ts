/**
 * Who this page is to the registry: a token, kept for as long as the tab lives.
 */
import { computed, signal } from "@preact/signals"

const key = "parley.token"

const read = (): string | undefined => {
  try {
    return sessionStorage.getItem(key) ?? undefined
  } catch {
    // Storage may be switched off: the token then lives as long as the page.
    return undefined
  }
}

/** The token that is sent, if there is one. */
export const token = signal<string | undefined>(read())

/** Whether the registry has asked for a token, or refused the one there is. */
export const wanted = signal<string | undefined>(undefined)

/** What a token says of itself; not checked here, the registry does that with every request. */
export interface Claims {
  readonly subject: string | undefined
  /** Milliseconds since the epoch. */
  readonly expiresAt: number | undefined
}

const claimsOf = (text: string): Claims => {
  try {
    const body = JSON.parse(atob((text.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/"))) as {
      readonly sub?: unknown
      readonly exp?: unknown
    }
    return {
      subject: typeof body.sub === "string" ? body.sub : undefined,
      expiresAt: typeof body.exp === "number" ? body.exp * 1000 : undefined
    }
  } catch {
    return { subject: undefined, expiresAt: undefined }
  }
}

/** What the token says of itself. */
export const claims = computed(() => (token.value === undefined ? undefined : claimsOf(token.value)))

/** Takes a token. */
export const signIn = (text: string): void => {
  token.value = text
  wanted.value = undefined
  try {
    sessionStorage.setItem(key, text)
  } catch {
    // It lives as long as the page.
  }
}

/** Forgets the token, and what was seen with it. */
export const signOut = (): void => {
  try {
    sessionStorage.removeItem(key)
  } catch {
    // There was none.
  }
  location.reload()
}
