/**
 * A router of the tests of port mapping that speaks NAT-PMP badly: before each answer it sends what is too short and what was not asked,
 * and its own outer address is a private one. What does not come from where it listens names a public one, and comes first. Tells
 * each request. Ends with its input.
 */
import { createSocket } from "node:dgram"
import { once } from "node:events"

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
const [socket, otherPort, otherAddress] = [createSocket("udp4"), createSocket("udp4"), createSocket("udp4")]
socket.on("message", (request, from) => {
  const op = request[1] ?? 0
  const answer = Buffer.alloc(op === 0 ? 12 : 16)
  answer[1] = op + 128
  if (op === 0) answer.set([10, 1, 2, 3], 8)
  else {
    request.copy(answer, 8, 4, 8)
    answer.writeUInt32BE(request.readUInt32BE(8), 12)
    say({ port: request.readUInt16BE(4), seconds: request.readUInt32BE(8) })
  }
  const all = [new Uint8Array(0), Uint8Array.of(0), Uint8Array.of(0, op + 128, 0), answer.subarray(0, 9), answer]
  const lie = Buffer.from(answer)
  if (op === 0) lie.set([11, 0, 0, 66], 8)
  otherPort.send(lie, from.port, from.address, () =>
    otherAddress.send(lie, from.port, from.address, () => {
      for (const bytes of all) socket.send(bytes, from.port, from.address)
    })
  )
})
otherPort.bind(0, "192.168.1.1")
otherAddress.bind(5_351, "203.0.113.10")
socket.bind(5_351, "192.168.1.1", () => say({ ready: true }))
process.stdin.resume()
await once(process.stdin, "end")
process.exit(0)
