// Takes the pictures of docs/dashboard, of a registry with a seeded mesh at work: npm run screenshots (in apps/dashboard)
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { command, repository } from "../../../../test-support/Runtime.ts"
import * as Chromium from "../Chromium.ts"
import * as RunningRegistry from "../RunningRegistry.ts"
import * as Seed from "../Seed.ts"

if (Chromium.absent !== undefined) throw new Error(Chromium.absent)
const folder = join(repository, "docs/dashboard")
mkdirSync(folder, { recursive: true })

const registry = await RunningRegistry.start()
const random = Seed.seeded(4)
const agents = await Seed.agents(registry.url, 36, random)
const stop = await Seed.heartbeats(
  registry.url,
  agents.map(({ id, most }, i) => ({ id, load: i % 3 === 0 ? Math.min(most, 1 + (i % 4)) : 0 }))
)
await Seed.tasks(registry.url, agents, 130, random, { workMs: 300 })
await Seed.memory(registry.url)
const { task } = await Seed.verdict(
  registry.url,
  { text: "The parcel came late, but what was in it is wonderful." },
  { agree: { label: "positive" }, differ: { label: "negative" }, agents: 5, dissenters: 1, seed: 5 }
)
for (const [seed, text] of [
  [6, "It does what it says."],
  [7, "I would not buy it again."],
  [8, "Third one in a row that broke."]
] as const) {
  await Seed.verdict(
    registry.url,
    { text },
    {
      agree: { label: seed === 6 ? "positive" : "negative" },
      differ: { label: "neutral" },
      agents: 5,
      dissenters: seed - 6,
      seed
    }
  )
}

const browser = await Chromium.launch()
const views = [
  ["mesh-light", "/", "light", 1280, 800],
  ["mesh-dark", "/", "dark", 1280, 800],
  ["agent-light", "/ui/agents/agent-ada", "light", 1280, 1180],
  ["agent-dark", "/ui/agents/agent-ada", "dark", 1280, 1180],
  ["consensus-light", `/ui/consensus/${task}`, "light", 1280, 900],
  ["tasks-dark", "/ui/tasks", "dark", 1280, 800],
  ["discover-light", "/ui/discover?words=repair+a+table", "light", 1280, 800],
  ["mesh-narrow", "/", "dark", 380, 780]
] as const
type View = readonly [name: string, path: string, colorScheme: "light" | "dark", width: number, height: number]
const take = async (url: string, [name, path, colorScheme, width, height]: View): Promise<void> => {
  const { page } = await Chromium.open(browser, { colorScheme, viewport: { width, height } })
  await page.goto(url + path)
  await page.locator("[data-state=live]").waitFor()
  if (path === "/") await page.locator('.stage[data-settled="true"]').waitFor({ timeout: 20_000 })
  else await page.waitForLoadState("networkidle")
  if (path.startsWith("/ui/consensus")) await page.locator("[data-valid]").waitFor()
  await page.screenshot({ path: join(folder, `${name}.png`) })
  console.log(`docs/dashboard/${name}.png`)
  await page.context().close()
}
for (const view of views) await take(registry.url, view)
stop()
await registry.close()

/** The demo with its registry, once its story is told. */
const demo = async (): Promise<{ readonly child: ChildProcess; readonly url: string }> => {
  const [binary, ...args] = command(join(repository, "apps/demo/src/main.ts"))
  const child = spawn(binary, [...args, "--registry", "--keep"], { stdio: ["ignore", "pipe", "inherit"] })
  let said = ""
  for await (const chunk of child.stdout) {
    said += String(chunk)
    const url = /The page: (http:\/\/[^\s/]+)/.exec(said)?.[1]
    if (url !== undefined) return { child, url }
  }
  throw new Error(`the demo ended, and named no page; it said: ${said}`)
}
const { child, url } = await demo()
await take(url, ["demo-mesh-light", "/", "light", 1280, 800])
await take(url, ["demo-mesh-dark", "/", "dark", 1280, 800])
await take(url, ["demo-consensus-light", "/ui/consensus", "light", 1280, 1180])
child.kill("SIGINT")
await once(child, "exit")
await browser.close()
process.exit(0)
