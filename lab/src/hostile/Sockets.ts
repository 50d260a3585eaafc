/** Attacks by sockets alone: handshakes that crawl, thousands of connections, and bytes that are no protocol. */
import type { Socket } from "node:net"
import { add, type Attack, rest, socketTo } from "./Attack.ts"

const HELLO = Buffer.from("PRLY\u0001\u0001\u0000\u0003\u0000\u0000\u0000\u0000", "latin1")

/** Keeps so many sockets open, opening those that the victim closes again, a batch at a time. */
const keepOpen = async (
  many: number,
  batch: number,
  everyMs: number,
  open: (which: number) => Socket,
  over: AbortSignal,
  turn: (sockets: ReadonlyArray<Socket | undefined>) => void
): Promise<void> => {
  const sockets: Array<Socket | undefined> = Array.from({ length: many })
  let next = 0
  while (!over.aborted) {
    for (let opened = 0, looked = 0; opened < batch && looked < many; looked++) {
      const which = next++ % many
      if (sockets[which] !== undefined && !sockets[which].destroyed) continue
      sockets[which] = open(which)
      opened++
    }
    turn(sockets)
    await rest(everyMs, over)
  }
  for (const socket of sockets) socket?.destroy()
}

/** Handshakes that send a byte at a time, from eight addresses: slow-loris. */
export const slowLoris: Attack = {
  what: "800 handshakes that send a byte every 300 ms, from 8 addresses",
  run: async (victim, counts, random, over) => {
    const at = new WeakMap<Socket, number>()
    await keepOpen(
      800,
      80,
      300,
      (which) => {
        add(counts, "sockets")
        return socketTo(victim, which % 8)
      },
      over,
      (sockets) => {
        for (const socket of sockets) {
          if (socket === undefined || socket.destroyed || !socket.writable) continue
          const sent = at.get(socket) ?? 0
          at.set(socket, sent + 1)
          socket.write(Uint8Array.of(HELLO[sent] ?? random.int(256)))
          add(counts, "bytes")
        }
      }
    )
  }
}

/** Ten thousand connections that say nothing, or as many as are asked for, from forty addresses: all of them in four seconds. */
export const crowd: Attack = {
  what: "connections that say nothing, 10,000 in a whole run, from 40 addresses",
  run: async (victim, counts, _random, over) => {
    await keepOpen(
      victim.crowd,
      victim.crowd / 40,
      100,
      (which) => {
        add(counts, "sockets")
        return socketTo(victim, 64 + (which % 40))
      },
      over,
      (sockets) => {
        const open = sockets.filter((socket) => socket !== undefined && !socket.destroyed).length
        counts["open at most"] = Math.max(counts["open at most"] ?? 0, open)
      }
    )
  }
}

/** Bytes that are no protocol, or the beginning of one, and then closed or left. */
export const nonsense: Attack = {
  what: "sockets that send random bytes and go, from 8 addresses",
  run: async (victim, counts, random, over) => {
    while (!over.aborted) {
      for (let i = 0; i < 10; i++) {
        const socket = socketTo(victim, 128 + random.int(8))
        const bytes = random.bytes(1 + random.int(2_000))
        if (random.int(2) === 0) bytes.set(HELLO.subarray(0, Math.min(HELLO.length, bytes.length)))
        socket.on("connect", () => {
          socket.write(bytes)
          if (random.int(4) !== 0) socket.end()
        })
        setTimeout(() => socket.destroy(), 1_000)
        add(counts, "sockets")
      }
      await rest(50, over)
    }
  }
}
