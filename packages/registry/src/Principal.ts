/**
 * Principal: who does something at the registry, after it was proven.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/**
 * `node`: proved its key by signature; `id` is its NodeId. `agent`: knows AgentMesh's shared secret; `id` is its agent id.
 * `operator`: holds the operator's token. `local`: nobody in particular on this machine, where neither keys nor a secret are
 * asked for.
 */
export interface Principal {
  readonly kind: "node" | "agent" | "operator" | "local"
  readonly id: string
}

/** Why a request is not let in. */
export class AuthError extends Schema.TaggedError<AuthError>()("AuthError", {
  /**
   * `Missing`, `Expired`, `Invalid` are 401; `Forbidden` is 403, `Unknown` (no such agent) 404, `Limited` 429 with
   * `Retry-After`, `Unavailable` (the keys cannot be read now) 503.
   */
  code: Schema.Literals(["Missing", "Expired", "Invalid", "Forbidden", "Unknown", "Limited", "Unavailable"]),
  detail: Schema.String,
  /** With `Limited`: milliseconds until it may be tried again. */
  retryAfterMs: Schema.optionalKey(Schema.Natural)
}) {
  override get message(): string {
    return this.detail
  }
}

/** Who asks, as far as transport and headers say. */
export interface Credentials {
  /** What stood after `Authorization: Bearer `, or in a socket's `?token=` or first frame. */
  readonly token?: string
  /** The remote address, without port. */
  readonly address: string
  /** A web page asks, as its browser says by `Origin`: whoever wrote the page is not who owns the address. */
  readonly isPage?: boolean
}

/** Knows who is who. */
export class Auth extends Context.Service<
  Auth,
  {
    /** `keys`: tokens only. `secret`: AgentMesh's shared secret as well. `open`: loopback only, everybody is `local`. */
    readonly mode: "keys" | "secret" | "open"
    /** Who this is. In `open` mode no token is `local`; a wrong token is refused in every mode. */
    readonly identify: (credentials: Credentials) => Effect.Effect<Principal, AuthError>
    /**
     * A fresh challenge for a NodeId. Signed by it (`Challenge.sign`, over the registry's URL as the node knows it), it becomes a
     * token, once, within a minute, at any instance.
     */
    readonly challenge: (
      node: string
    ) => Effect.Effect<{ readonly challenge: string; readonly expiresAt: number }, AuthError>
    /** Signature over a challenge (base64url) for a token. */
    readonly prove: (
      node: string,
      challenge: string,
      signature: string
    ) => Effect.Effect<{ readonly token: string; readonly expiresAt: number }, AuthError>
    /** AgentMesh's shared secret for a token of one agent. */
    readonly exchange: (
      agent: string,
      secret: string,
      credentials: Credentials
    ) => Effect.Effect<{ readonly token: string; readonly expiresAt: number }, AuthError>
    /** The public keys that tokens are signed with, as a JWK set (RFC 7517). */
    readonly jwks: Effect.Effect<Schema.Json>
  }
>()("@parley/registry/Principal/Auth") {}

/** Whether somebody may act for an agent. */
export const mayActFor = (principal: Principal, agent: string): boolean =>
  principal.kind === "operator" || principal.kind === "local" || principal.id === agent
