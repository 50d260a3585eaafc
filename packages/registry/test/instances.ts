/** Real registry processes for tests of several instances, and what a test asks them. */
import { type ChildProcess, spawn } from "node:child_process"
import type * as Identity from "@parley/core/Identity"
import * as Challenge from "@parley/registry/Challenge"
import { command } from "../../../test-support/Runtime.ts"
import { within } from "./live.ts"

const main = new URL("../../../apps/registry/src/main.ts", import.meta.url).pathname

export interface Instance {
  readonly child: ChildProcess
  /** `127.0.0.1:PORT` */
  readonly at: string
}

/** Starts one, and waits until it listens. */
export const startInstance = (environment: { readonly [name: string]: string }): Promise<Instance> => {
  const [program, ...args] = command(main)
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, AGENT_SECRET: "", DATABASE_URL: "", PARLEY_PORT: "0", ...environment }
  })
  let output = ""
  return within(
    "an instance that listens",
    new Promise((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`The instance ended with ${code}: ${output}`)))
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (chunk: Buffer) => {
          output = (output + chunk.toString()).slice(-10_000)
          const at = /registry at http:\/\/(127\.0\.0\.1:\d+)/.exec(output)?.[1]
          if (at !== undefined) resolve({ child, at })
        })
      }
    }),
    20_000
  )
}

/** An answer, its body read as whatever JSON it is. */
export const ask = async (at: string, path: string, method = "GET", body?: object, token?: string) => {
  const response = await fetch(`http://${at}${path}`, {
    method,
    headers: {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` })
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })
  const { headers, status } = response
  return { status, type: headers.get("content-type") ?? "", body: await response.json() }
}

/** What `POST /auth/proof` at one instance takes for a challenge that another one may have made. */
export const proofFor = (identity: Identity.Identity["Service"], at: string, challenge: string) => ({
  node: identity.nodeId,
  challenge,
  signature: Challenge.sign(identity, `http://${at}`, challenge)
})

/** Looks until an answer is as wished for; gives how long that took, in milliseconds. */
export const eventually = async (what: string, holds: () => Promise<boolean>, ms = 15_000): Promise<number> => {
  const began = performance.now()
  while (!(await holds().catch(() => false))) {
    if (performance.now() - began > ms) throw new Error(`Waited ${ms} ms in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return performance.now() - began
}
