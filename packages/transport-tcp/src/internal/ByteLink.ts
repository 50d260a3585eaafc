/** ByteLink: a duplex of bytes to one other end, such as a socket or a relay circuit. A session runs over it. */

/** What a link tells whoever holds it. None of these may throw. */
export interface LinkHandler {
  /** Bytes came; they are the link's, and valid only during the call. */
  onData(chunk: Uint8Array): void
  /** Everything written has left. */
  onDrain(): void
  /** The link is over: nothing comes after it. Called exactly once, unless this side destroyed the link. */
  onClose(why: string): void
}

/** A duplex of bytes, ordered and reliable as long as it lives. */
export interface ByteLink {
  /** Sets who hears of it; called before anything is read. A later call hands the link over. */
  attach(handler: LinkHandler): void
  /** Sends bytes, which are the link's as long as `unsent` gives anything but zero. */
  write(bytes: Uint8Array): void
  /** What was written shall leave now, and not wait for the end of this turn. */
  push(): void
  /** Bytes written that have not left yet. */
  unsent(): number
  /** Closes when what was written has left, or after a short while. The handler hears nothing more. */
  close(): void
  /** Closes at once. The handler hears nothing more. */
  destroy(): void
}

/** Who keeps a link until nothing of it is left. */
export interface Keeper {
  /** The other end has taken what was written and closed too, or never will. Called once. */
  gone(link: KeptLink): void
}

/** A link that says when it has gone. */
export interface KeptLink extends ByteLink {
  /** Set by whoever keeps it. */
  keeper: Keeper | undefined
}
