/** DNS-SD as every tool of the local network understands it (RFC 6763). */
import type { NodeId } from "@parley/core/NodeId"
import type { Answer } from "dns-packet"
import type { Dialect } from "./Dialect.ts"
import * as DnsSd from "./DnsSd.ts"
import { ServiceCache } from "./ServiceCache.ts"

/** Known answers in a question: they fit into one packet beside it. */
const MAX_KNOWN_ANSWERS = 20
/** Questions read of one packet. */
export const MAX_QUESTIONS = 64

export const make = (node: NodeId): Dialect => {
  const cache = new ServiceCache()
  const instance = DnsSd.instanceOf(node)
  const host = DnsSd.hostOf(node)
  return {
    answersResolvers: true,
    question: (now) => ({
      questions: [{ type: "PTR", name: DnsSd.SERVICE }],
      answers: cache
        .fresh(now, MAX_KNOWN_ANSWERS)
        .map(({ name, ttl }): Answer => ({ type: "PTR", name: DnsSd.SERVICE, ttl, data: name }))
    }),
    wanted: ({ questions = [] }) => {
      const wanted = { own: false, services: false }
      for (const question of questions.slice(0, MAX_QUESTIONS)) {
        const name = question.name.toLowerCase()
        const { type } = question
        const any = type === "ANY"
        if (name === DnsSd.SERVICES && (any || type === "PTR")) wanted.services = true
        else if (name === DnsSd.SERVICE && (any || type === "PTR")) wanted.own = true
        else if (name === instance && (any || type === "SRV" || type === "TXT")) wanted.own = true
        else if (name === host && (any || type === "A" || type === "AAAA")) wanted.own = true
      }
      return wanted
    },
    // For at least half its time (RFC 6762, 7.1).
    isKnown: ({ answers = [] }) =>
      answers.some(
        (answer) =>
          answer.type === "PTR" &&
          typeof answer.data === "string" &&
          answer.data.toLowerCase() === instance &&
          (answer.ttl ?? 0) > DnsSd.TTL / 2
      ),
    answer: (wanted, endpoint, { flush, ttl }) => {
      const own =
        wanted.own && endpoint !== undefined
          ? DnsSd.answersOf(node, endpoint, { ttl, flush })
          : { answers: [], additionals: [] }
      return wanted.services ? { ...own, answers: [...own.answers, DnsSd.serviceAnswer(ttl)] } : own
    },
    ingest: (packet, now, sameHost) => {
      const learned = cache.ingest(packet, now, sameHost)
      return { ...learned, sound: learned.found.length > 0 }
    },
    expire: (now) => cache.expire(now),
    known: () => cache.known(),
    turn: () => 0
  }
}
