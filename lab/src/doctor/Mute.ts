/** Listens on a port and is no Parley node: `mute` says nothing, `http` answers as a web server does. */
import { createServer } from "node:net"

const [port = "0", what = "mute"] = process.argv.slice(2)
const server = createServer((socket) => {
  socket.on("error", () => {})
  socket.on("data", () => {
    if (what === "http") socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
  })
})
server.listen(Number(port), "0.0.0.0", () => console.log(JSON.stringify({ listening: Number(port) })))
