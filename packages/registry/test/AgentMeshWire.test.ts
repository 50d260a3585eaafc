/** Verifies: frames of AgentMesh's task socket have exactly its fields and defaults; nonsense is told from them, and why. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import { forRounds, mutate, seeded } from "@parley/core/testing/Seeded"
import {
  decodeReply,
  decodeRequest,
  encodeMalformed,
  encodeNegotiation,
  encodeRequest,
  encodeResult,
  type Malformed,
  MAX_JSON_DEPTH,
  normalise,
  type TaskRequest
} from "@parley/registry/AgentMeshWire"

const request = (params: object): TaskRequest => {
  const decoded = decodeRequest(JSON.stringify({ method: "task.request", params }))
  if ("_tag" in decoded) throw new Error(decoded.detail)
  return decoded
}
const codeOf = (frame: string): number | undefined => {
  const decoded = decodeRequest(frame)
  return "_tag" in decoded ? decoded.code : undefined
}

describe("TaskRequest", () => {
  test("has AgentMesh's defaults", () => {
    const { created_at, task_id, ...rest } = request({ capability: "add", requester_id: "ada" })
    expect(rest).toEqual({
      capability: "add",
      input_data: {},
      requester_id: "ada",
      target_id: null,
      deadline_ms: 30_000,
      priority: 1,
      context: ""
    })
    expect(task_id).toMatch(/^task-[0-9a-f]{8}$/)
    expect(created_at).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/)
  })

  test("drops members it does not know, and keeps what it was given", () => {
    const given = {
      task_id: "task-0011aabb",
      capability: "add",
      input_data: { a: [1, null, { b: "ü" }] },
      requester_id: "ada",
      target_id: "bob",
      deadline_ms: -5,
      priority: 5,
      context: "because",
      created_at: "2026-11-21T06:00:00.123456Z"
    }
    expect(request({ ...given, more: 1 })).toEqual(given)
    expect(decodeRequest(encodeRequest(request(given)))).toEqual(request(given))
  })

  test("says what is wrong with a frame, with JSON-RPC's numbers", () => {
    expect(codeOf("{")).toBe(-32700)
    expect(codeOf("[".repeat(MAX_JSON_DEPTH + 1))).toBe(-32700)
    expect(codeOf(`{"method":"task.request","params":{"capability":"${"[".repeat(99)}","requester_id":"a"}}`)).toBe(
      undefined
    )
    expect(codeOf("[]")).toBe(-32600)
    expect(codeOf("null")).toBe(-32600)
    expect(codeOf("{}")).toBe(-32600)
    expect(codeOf('{"method":"task.cancel"}')).toBe(-32601)
    const wrong = (params: unknown) => codeOf(JSON.stringify({ method: "task.request", params }))
    expect(wrong(undefined)).toBe(-32602)
    expect(wrong({ requester_id: "a" })).toBe(-32602)
    expect(wrong({ capability: "a" })).toBe(-32602)
    for (const priority of [0, 6, 9, 1.5]) expect(wrong({ capability: "a", requester_id: "a", priority })).toBe(-32602)
    expect(wrong({ capability: "a", requester_id: "a", input_data: [] })).toBe(-32602)
    expect(wrong({ capability: "a", requester_id: "a", task_id: "x".repeat(65) })).toBe(-32602)
    expect(wrong({ capability: "x".repeat(129), requester_id: "a" })).toBe(-32602)
  })

  test("an error names the task it is about, where that can be read", () => {
    const params = { task_id: "t-1", capability: "a", requester_id: "a", priority: 9 }
    const decoded = decodeRequest(JSON.stringify({ method: "task.request", params })) as Malformed
    expect(JSON.parse(encodeMalformed(decoded))).toEqual({
      error: { code: -32602, message: decoded.detail, task_id: "t-1" }
    })
    expect(decoded.detail).toContain("priority")
    expect(decodeReply(encodeMalformed(decoded))).toEqual({ _tag: "Error", detail: decoded.detail })
  })

  test("damaged frames are requests or malformed, never more", () => {
    const random = seeded(3)
    const frame = Buffer.from(
      encodeRequest(request({ capability: "add", requester_id: "ada", input_data: { a: [1] } }))
    )
    let damaged = 0
    forRounds(random, 2_000, () => {
      const text = Buffer.from(mutate(random, frame)).toString("utf8")
      const decoded = decodeRequest(text)
      if ("_tag" in decoded) damaged += 1
      decodeReply(text)
    })
    expect(damaged).toBeGreaterThan(500)
  })
})

describe("replies", () => {
  test("are the very bytes of AgentMesh's SDK, but for blanks", () => {
    const accepted = encodeNegotiation({
      task_id: "t",
      responder_id: "bob",
      status: "accepted",
      estimated_latency_ms: 5_000,
      counter_proposal: null,
      reason: null
    })
    expect(accepted).toBe(
      '{"result":{"task_id":"t","responder_id":"bob","status":"accepted","estimated_latency_ms":5000,"counter_proposal":null,"reason":null}}'
    )
    expect(
      encodeResult({
        task_id: "t",
        executor_id: "bob",
        status: "completed",
        output: { n: 1 },
        error: null,
        tokens_used: 0,
        execution_time_ms: 12,
        completed_at: "2026-11-21T06:00:00.000Z"
      })
    ).toBe(
      '{"method":"task.result","params":{"task_id":"t","executor_id":"bob","status":"completed","output":{"n":1},"error":null,"tokens_used":0,"execution_time_ms":12,"completed_at":"2026-11-21T06:00:00.000Z"}}'
    )
  })

  test("are read with the SDK's defaults", () => {
    expect(decodeReply('{"result":{"task_id":"t","responder_id":"b","status":"rejected"}}')).toEqual({
      _tag: "Negotiation",
      response: {
        task_id: "t",
        responder_id: "b",
        status: "rejected",
        estimated_latency_ms: null,
        counter_proposal: null,
        reason: null
      }
    })
    const reply = decodeReply('{"method":"task.result","params":{"task_id":"t","executor_id":"b","status":"failed"}}')
    expect(reply._tag).toBe("Result")
    if (reply._tag === "Result") {
      expect(reply.result).toEqual({
        task_id: "t",
        executor_id: "b",
        status: "failed",
        output: {},
        error: null,
        tokens_used: 0,
        execution_time_ms: 0,
        completed_at: reply.result.completed_at
      })
    }
  })

  test("that make no sense are malformed", () => {
    for (const frame of [
      "",
      "1",
      "{}",
      '{"result":1}',
      '{"result":{"task_id":"t","responder_id":"b","status":"executing"}}',
      '{"method":"task.result","params":{"task_id":"t"}}'
    ]) {
      expect(decodeReply(frame)._tag).toBe("Malformed")
    }
  })
})

describe("names", () => {
  test("of AgentMesh become names of the mesh", () => {
    expect(normalise("analyze_csv")).toBe("analyze_csv")
    expect(normalise("text.count")).toBe("text.count")
    expect(normalise("Analyze CSV!")).toBe("analyze-csv")
    expect(normalise("Übersetzen/DE")).toBe("bersetzen-de")
    expect(normalise("..__a..b..")).toBe("a.b")
    expect(normalise("日本")).toBe("capability")
  })

  test("always fit, whatever they were, and stay apart", () => {
    const random = seeded(11)
    const chars = [..."aZ9._- /äπ\u0000😀"]
    forRounds(random, 2_000, () => {
      const name = Array.from({ length: random.int(200) }, () => random.pick(chars)).join("")
      const normal = normalise(name)
      Capability.untyped(`${normal}@1.0.0`)
      const other = normalise(name, (taken) => taken === normal)
      Capability.untyped(`${other}@1.0.0`)
      expect(other).not.toBe(normal)
      expect(other).toBe(normalise(name, (taken) => taken === normal))
    })
  })
})
