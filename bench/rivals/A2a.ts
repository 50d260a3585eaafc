/**
 * The A2A protocol's own SDK: JSON-RPC over HTTP, served by its Express handler, asked by its client over the runtime's `fetch`,
 * which keeps its connections. The agent answers `SendMessage` at once with a message, so that no task is made or stored.
 */
import { once } from "node:events"
import { createServer } from "node:http"
import { type Message, Role } from "@a2a-js/sdk"
import { ClientFactory, JsonRpcTransportFactory } from "@a2a-js/sdk/client"
import { AgentEvent, DefaultRequestHandler, InMemoryTaskStore } from "@a2a-js/sdk/server"
import { jsonRpcHandler, UserBuilder } from "@a2a-js/sdk/server/express"
import express from "express"
import { type Path, type Payload, payloadOf } from "../src/Path.ts"
import { lanes } from "./Lanes.ts"

/** Express's own limit of 100 KB is less than the largest payload of the bench. */
const LARGEST_BODY = "8mb"

const cardOf = (url: string) => ({
  name: "echo",
  description: "Answers what it was asked",
  version: "1.0.0",
  supportedInterfaces: [{ url, protocolBinding: "JSONRPC", protocolVersion: "1.0", tenant: "" }],
  provider: undefined,
  capabilities: { extensions: [], streaming: false, pushNotifications: false },
  securitySchemes: {},
  securityRequirements: [],
  defaultInputModes: ["application/json"],
  defaultOutputModes: ["application/json"],
  skills: [],
  signatures: []
})

let sent = 0
const messageOf = (role: Role, data: unknown, contextId = ""): Message => ({
  messageId: `${role}-${++sent}`,
  contextId,
  taskId: "",
  role,
  parts: [
    { content: { $case: "data", value: data }, metadata: undefined, filename: "", mediaType: "application/json" }
  ],
  metadata: undefined,
  extensions: [],
  referenceTaskIds: []
})

const payloadIn = (message: Message): Payload => {
  const content = message.parts[0]?.content
  if (content?.$case !== "data") throw new Error("the message holds no data")
  return content.value as Payload
}

const path: Path = {
  answer: async () => {
    const app = express().disable("x-powered-by").disable("etag")
    const server = createServer(app).listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    if (address === null || typeof address === "string") throw new Error("the server has no port")
    const url = `http://127.0.0.1:${address.port}/`
    const requestHandler = new DefaultRequestHandler(cardOf(url), new InMemoryTaskStore(), {
      execute: async ({ contextId, userMessage }, bus) => {
        bus.publish(AgentEvent.message(messageOf(Role.ROLE_AGENT, payloadIn(userMessage), contextId)))
        bus.finished()
      },
      cancelTask: async () => undefined
    })
    app.use(express.json({ limit: LARGEST_BODY }))
    app.use(jsonRpcHandler({ requestHandler, userBuilder: UserBuilder.noAuthentication }))
    return url
  },
  ask: async (address, bytes) => {
    const factory = new ClientFactory({ transports: [new JsonRpcTransportFactory()] })
    const client = await factory.createFromAgentCard(cardOf(address))
    const payload = payloadOf(bytes)
    return lanes(payload, async () => {
      const answer = await client.sendMessage({
        tenant: "",
        message: messageOf(Role.ROLE_USER, payload),
        configuration: undefined,
        metadata: undefined
      })
      if (!("messageId" in answer)) throw new Error("the answer is a task, not a message")
      return payloadIn(answer)
    })
  }
}

export default path
