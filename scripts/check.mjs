// Format, lint, lock file and types in one command: node scripts/check.mjs
import { spawnSync } from "node:child_process"
import { ensureDashboardInstalled, ensureInstalled, ensureRivalsInstalled, root, toolCommand } from "./setup.mjs"

ensureInstalled()
try {
  // Their types are needed to check what the bench and the dashboard make of them.
  ensureRivalsInstalled()
  ensureDashboardInstalled()
} catch (error) {
  console.error(`check: ${error.message}`)
  process.exit(1)
}

const steps = [
  ["format", "oxfmt/bin/oxfmt", ["--check"], "npx oxfmt"],
  ["lint", "oxlint/bin/oxlint", ["--deny-warnings"], "read each message; npx oxlint --fix repairs some"],
  ["lock file", "../scripts/lock.mjs", [], "node scripts/lock.mjs --fix"],
  ["types", "typescript/bin/tsc", ["--noEmit", "-p", "tsconfig.json"], "read each message"],
  [
    "types of the dashboard",
    "typescript/bin/tsc",
    ["--noEmit", "-p", "apps/dashboard/tsconfig.json"],
    "read each message"
  ]
]

// npm does this after an install; Bun and Deno do not. It is nothing when it is done already.
const patch = toolCommand("@effect/tsgo/dist/effect-tsgo.cjs")
const patched = spawnSync(patch[0], [...patch.slice(1), "patch"], { cwd: root, encoding: "utf8" })
if (patched.status !== 0)
  console.error(`The Effect diagnostics are not switched on:\n${patched.stdout}${patched.stderr}`)

let failed = patched.status === 0 ? 0 : 1
for (const [name, tool, args, repair] of steps) {
  const began = Date.now()
  const command = toolCommand(tool)
  const { status, error } = spawnSync(command[0], [...command.slice(1), ...args], { cwd: root, stdio: "inherit" })
  const seconds = ((Date.now() - began) / 1000).toFixed(1)
  if (status === 0) console.log(`check ${name}: ok (${seconds} s)`)
  else {
    failed++
    console.log(`check ${name}: FAILED (${seconds} s${error ? `, ${error.message}` : ""}). To repair: ${repair}`)
  }
}
process.exit(failed === 0 ? 0 : 1)
