/**
 * Machine: a protocol as a pure function of what happens to it.
 *
 * A machine does no I/O, reads no clock and draws no random number of its own: the time is in the event, and its source of
 * randomness in its state. So the same code runs over sockets (a driver turns actions into frames and timers) and in a
 * simulated network of ten thousand nodes (`@parley/core/testing/Simulation`), where one seed gives one run.
 *
 * State is handed on, not shared: a step may change the state it was given and return it, and nobody uses the old one again.
 */

/** What happens to a machine. `now` is in milliseconds of a clock that never goes back; `Peer` is the peer's NodeId. */
export type Event<Message, Timer, Command, Peer extends string = string> =
  | { readonly _tag: "Message"; readonly now: number; readonly from: Peer; readonly message: Message }
  | { readonly _tag: "Timer"; readonly now: number; readonly timer: Timer }
  /** An authenticated link to the peer stands, whoever made it. */
  | { readonly _tag: "LinkUp"; readonly now: number; readonly peer: Peer }
  /** It is gone, or could not be made: what was sent on it last may not have arrived. */
  | { readonly _tag: "LinkDown"; readonly now: number; readonly peer: Peer }
  /** The layer above wants something. */
  | { readonly _tag: "Command"; readonly now: number; readonly command: Command }

/** What a machine wants done. Actions are carried out in their order. */
export type Action<Message, Timer, Told, Peer extends string = string> =
  /**
   * Messages to one peer arrive in order, or the link goes down. Without a link one is made first (`LinkUp` follows), and
   * where none can be made, the message is lost and `LinkDown` follows.
   */
  | { readonly _tag: "Send"; readonly to: Peer; readonly message: Message }
  /** No link to the peer is needed any more. No `LinkDown` follows here; the peer may hear one. */
  | { readonly _tag: "Close"; readonly peer: Peer }
  /** The timer comes back as an event after so many milliseconds. Timers are not cancelled: whoever does not want one ignores it. */
  | { readonly _tag: "After"; readonly ms: number; readonly timer: Timer }
  /** Something for the layer above. */
  | { readonly _tag: "Tell"; readonly told: Told }

/** A protocol: how its state goes on, and what it wants done. Total: no event of any peer makes it throw. */
export interface Machine<State, Message, Timer, Command, Told, Peer extends string = string> {
  readonly step: (
    state: State,
    event: Event<Message, Timer, Command, Peer>
  ) => readonly [State, ReadonlyArray<Action<Message, Timer, Told, Peer>>]
}
