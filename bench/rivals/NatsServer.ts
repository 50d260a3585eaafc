/** Debian's `nats-server`, thrown away after use. */
import { spawn, spawnSync } from "node:child_process"
import { createInterface } from "node:readline"

/** Where Debian's package puts it is not on everyone's PATH. */
const environment = { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/local/sbin` }

/** Its version; undefined where it is not installed. */
export const natsServerVersion = (): string | undefined =>
  spawnSync("nats-server", ["--version"], { env: environment, encoding: "utf8" }).stdout?.match(/v(\d[\w.-]*)/)?.[1]

/** Starts it on a free port of loopback, without files, and gives its URL. It ends with this process, however that ends. */
export const startNatsServer = async (): Promise<string> => {
  const untilInputEnds = 'nats-server "$@" & read -r _; kill $!'
  const server = spawn("/bin/sh", ["-c", untilInputEnds, "sh", "-a", "127.0.0.1", "-p", "-1"], {
    env: environment,
    stdio: ["pipe", "ignore", "pipe"]
  })
  const said: Array<string> = []
  for await (const line of createInterface({ input: server.stderr })) {
    said.push(line)
    const [, port] = /Listening for client connections on .*:(\d+)/.exec(line) ?? []
    if (port !== undefined) {
      server.stderr.resume()
      return `nats://127.0.0.1:${port}`
    }
  }
  throw new Error(`nats-server did not start; it said\n${said.join("\n")}`)
}
