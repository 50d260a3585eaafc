/** Honest peers of the node that is attacked: one that is connected and calls all the time, and newcomers. */
import { setTimeout as pause } from "node:timers/promises"
import { Agent } from "@parley/agent/Agent"

/** What honest peers saw. */
export interface Seen {
  /** Of each call, in ms. */
  readonly latencies: ReadonlyArray<number>
  readonly failed: ReadonlyArray<string>
  readonly newcomers: number
  readonly turnedAway: ReadonlyArray<string>
}

/** The topic on which it publishes a number after each call: how many it has published before. */
export const NEWS = "lab.news"

const EVERY_MS = 20
const NEWCOMER_EVERY_MS = 1_500
const DEADLINE = "10 seconds"

/** Calls `address` until stopped; gives what was seen since the last time it was asked. */
export const startFriend = async (
  address: string,
  node: string
): Promise<{
  readonly nodeId: string
  readonly take: () => Seen
  /** Messages published since the start. */
  readonly published: () => number
  readonly stop: () => Promise<void>
}> => {
  const options = { host: "127.0.0.1", mdns: false, peers: [address] }
  const friend = await Agent.start({ ...options, name: "friend" })
  await friend.call("text.echo@^1", { text: "hello" }, { to: address })
  const over = new AbortController()
  let published = 0
  let seen = {
    latencies: [] as Array<number>,
    failed: [] as Array<string>,
    newcomers: 0,
    turnedAway: [] as Array<string>
  }
  const calling = (async () => {
    for (let n = 0; !over.signal.aborted; n++) {
      const began = performance.now()
      try {
        const answer = await friend.call("text.echo@^1", { text: `call ${n}` }, { to: node, deadline: DEADLINE })
        if (answer.text !== `call ${n}`) throw new Error(`call ${n} was answered with ${JSON.stringify(answer)}`)
        seen.latencies.push(performance.now() - began)
        await friend.publish(NEWS, published)
        published++
      } catch (error) {
        seen.failed.push(String(error))
      }
      await pause(EVERY_MS)
    }
  })()
  const coming = (async () => {
    while (!over.signal.aborted) {
      try {
        const newcomer = await Agent.start({ ...options, listen: false, name: "newcomer" })
        try {
          await newcomer.call("text.echo@^1", { text: "new here" }, { to: address, deadline: DEADLINE })
          seen.newcomers++
        } finally {
          await newcomer.close()
        }
      } catch (error) {
        seen.turnedAway.push(String(error))
      }
      await pause(NEWCOMER_EVERY_MS)
    }
  })()
  return {
    nodeId: friend.nodeId,
    take: () => {
      const taken = seen
      seen = { latencies: [], failed: [], newcomers: 0, turnedAway: [] }
      return taken
    },
    published: () => published,
    stop: async () => {
      over.abort()
      await Promise.all([calling, coming])
      await friend.close()
    }
  }
}
