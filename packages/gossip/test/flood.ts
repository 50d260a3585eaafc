/**
 * A machine for tests of the driver: every node that has a link is a neighbour, and every payload goes to all of them. What the
 * real one does besides is its own tests' affair.
 */
import type { Action, Machine } from "@parley/core/Machine"
import type { Command, Message, Timer, Told } from "@parley/gossip/GossipMachine"

export interface Flood {
  readonly neighbors: Set<string>
  readonly seen: Set<string>
}

export const makeFlood = (): Flood => ({ neighbors: new Set(), seen: new Set() })

export const flood: Machine<Flood, Message, Timer, Command, Told> = {
  step: (state, event) => {
    const actions: Array<Action<Message, Timer, Told>> = []
    const spread = (id: string, origin: string, payload: Uint8Array, from?: string): void => {
      state.seen.add(id)
      for (const to of state.neighbors)
        if (to !== from) actions.push({ _tag: "Send", to, message: { _tag: "Gossip", id, origin, round: 0, payload } })
    }
    switch (event._tag) {
      case "LinkUp":
        state.neighbors.add(event.peer)
        actions.push({ _tag: "Tell", told: { _tag: "NeighborUp", peer: event.peer } })
        break
      case "LinkDown":
        if (state.neighbors.delete(event.peer))
          actions.push({ _tag: "Tell", told: { _tag: "NeighborDown", peer: event.peer } })
        break
      case "Command": {
        const { command } = event
        if (command._tag === "Join") {
          for (const to of command.contacts) actions.push({ _tag: "Send", to, message: { _tag: "Join" } })
        } else if (command._tag === "Publish") spread(command.id, "", command.payload)
        break
      }
      case "Message": {
        const { message } = event
        if (message._tag !== "Gossip" || state.seen.has(message.id)) break
        const { id, origin, payload, round } = message
        actions.push({ _tag: "Tell", told: { _tag: "Deliver", id, origin, payload, from: event.from, round } })
        spread(id, origin, payload, event.from)
        break
      }
    }
    return [state, actions]
  }
}
