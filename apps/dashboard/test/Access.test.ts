/** Whether everyone can use the dashboard: axe on each view in both themes, a narrow screen, a keyboard alone, hostile words. */
import { afterAll, beforeAll, describe, expect } from "bun:test"
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import type { Browser, Page } from "playwright-core"
import { current } from "../../../test-support/Runtime.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import * as Chromium from "./Chromium.ts"
import * as RunningRegistry from "./RunningRegistry.ts"
import * as Seed from "./Seed.ts"

// The page is the same whatever runtime drives the browser, and axe takes its time.
const test = skipTest(Chromium.absent ?? (current === "deno" ? "tried on Bun alone: the page is the same" : undefined))
const SEED = 20_261_122
const TIMEOUT = 120_000

/** Words that break pages which trust them. */
const HOSTILE = `<img src=x onerror="window.broken=1"><script>window.broken=2</script>'"\`\${1}&lt;\u202Eabc`
const LONG = "W".repeat(120)

let registry: RunningRegistry.RunningRegistry
let browser: Browser
let paths: ReadonlyArray<string> = []
let stop: () => void = () => undefined

beforeAll(async () => {
  if (Chromium.absent !== undefined || current === "deno") return
  registry = await RunningRegistry.start()
  const random = Seed.seeded(SEED)
  const agents = await Seed.agents(registry.url, 12, random)
  stop = await Seed.heartbeats(registry.url, [{ id: agents[0]!.id, load: 1 }])
  await Seed.tasks(registry.url, agents, 30, random)
  await Seed.memory(registry.url)
  const { task } = await Seed.verdict(
    registry.url,
    { text: HOSTILE },
    { agree: HOSTILE, differ: LONG, agents: 4, dissenters: 1, seed: SEED }
  )
  const hostile = `x<b>&"'#?%25 ${"long".repeat(20)}`
  for (const [agent_id, name] of [
    [hostile, HOSTILE],
    ["agent-long", LONG]
  ] as const) {
    await Seed.request(registry.url, "POST", "/agents/register", {
      agent_id,
      name,
      description: HOSTILE.repeat(4),
      endpoint: `javascript:window.broken=3//${LONG}`,
      tags: [HOSTILE, LONG],
      capabilities: [{ name: LONG, description: HOSTILE }]
    })
  }
  await Seed.task(registry.url, {
    from: hostile,
    to: "agent-long",
    id: "task-hostile",
    capability: HOSTILE.slice(0, 100),
    ok: true,
    workMs: 0,
    quality: 1
  })
  await Seed.request(registry.url, "POST", "/traces", {
    task_id: "task-hostile",
    event_type: "failed",
    from_agent: hostile,
    to_agent: "agent-long",
    payload: { [HOSTILE]: HOSTILE, long: LONG.repeat(20) }
  })
  await Seed.request(
    registry.url,
    "PUT",
    `/memory/${encodeURIComponent("s-hostile")}/${encodeURIComponent("k-hostile")}`,
    { value: { [HOSTILE]: [HOSTILE, LONG.repeat(10)] } }
  )
  paths = [
    "/",
    "/ui/agents",
    "/ui/agents/agent-ada",
    `/ui/agents/${encodeURIComponent(hostile)}`,
    "/ui/tasks",
    "/ui/tasks/task-hostile",
    `/ui/consensus/${task}`,
    "/ui/discover?words=table",
    "/ui/memory/s-hostile",
    "/ui/events",
    "/ui/stats",
    "/ui/nowhere"
  ]
  browser = await Chromium.launch()
}, TIMEOUT)
afterAll(async () => {
  stop()
  await browser?.close()
  await registry?.close()
})

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

interface Found {
  readonly violations: ReadonlyArray<{
    readonly id: string
    readonly impact: string
    readonly nodes: ReadonlyArray<{ readonly html: string; readonly failureSummary: string }>
  }>
}

const seriousOf = async (page: Page): Promise<ReadonlyArray<string>> => {
  const found = (await page.evaluate(`axe.run(document, { resultTypes: ["violations"] })`)) as Found
  return found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(
      ({ id, nodes }) =>
        `${id}: ${nodes
          .slice(0, 3)
          .map(({ failureSummary, html }) => `${html.slice(0, 160)} ${failureSummary.slice(0, 200)}`)
          .join(" | ")}`
    )
}

/** Until the view has what it asks for. */
const settled = async (page: Page): Promise<void> => {
  await page.locator("[data-state=live]").waitFor()
  await page.waitForLoadState("networkidle", { timeout: 3_000 }).catch(() => undefined)
}

describe("the dashboard for everyone", () => {
  test(
    "has no serious issue for axe in any view and either theme, fits 380 pixels, and takes hostile words as words",
    async () => {
      const { errors, page } = await Chromium.open(browser)
      await page.addInitScript(axe)
      const issues: Array<string> = []
      for (const path of paths) {
        await page.goto(registry.url + path)
        await settled(page)
        for (const colorScheme of ["light", "dark"] as const) {
          await page.emulateMedia({ colorScheme })
          for (const issue of await seriousOf(page)) issues.push(`${path}, ${colorScheme}: ${issue}`)
        }
        for (const width of [1280, 380]) {
          await page.setViewportSize({ width, height: 780 })
          const taken = await page.evaluate(() => document.documentElement.scrollWidth)
          if (taken > width) issues.push(`${path}: ${taken} of ${width} pixels`)
        }
        for (const issue of await seriousOf(page)) issues.push(`${path}, narrow: ${issue}`)
        await page.setViewportSize({ width: 1280, height: 780 })
        if (await page.evaluate(() => "broken" in window)) issues.push(`${path}: a hostile word was run`)
        if ((await page.locator('a[href^="javascript:"]').count()) > 0) issues.push(`${path}: a link runs a script`)
      }
      await page.keyboard.press("Control+k")
      await page.getByRole("combobox", { name: "Search or do" }).waitFor()
      for (const issue of await seriousOf(page)) issues.push(`palette: ${issue}`)
      await page.context().close()
      expect(issues).toEqual([])
      expect(errors).toEqual([])
    },
    TIMEOUT
  )

  test(
    "can be used with a keyboard alone: skip link, list, palette, and focus that is seen",
    async () => {
      const { page } = await Chromium.open(browser)
      await page.goto(`${registry.url}/`)
      await settled(page)
      await page.keyboard.press("Tab")
      expect(await page.evaluate(() => document.activeElement!.textContent)).toBe("To the content")
      const seen: Array<string> = []
      for (let i = 0; i < 40; i++) {
        await page.keyboard.press("Tab")
        const { name, outlined } = await page.evaluate(() => {
          const element = document.activeElement as HTMLElement
          const style = getComputedStyle(element)
          return {
            name: element.getAttribute("role") ?? element.tagName,
            outlined: style.outlineStyle !== "none" && style.outlineWidth !== "0px"
          }
        })
        if (name !== "BODY") expect({ name, outlined }).toEqual({ name, outlined: true })
        seen.push(name)
        if (name === "listbox") break
      }
      expect(seen).toContain("listbox")
      await page.keyboard.press("ArrowDown")
      await page.keyboard.press("ArrowDown")
      const chosen = await page.evaluate(
        () => document.querySelector('[role=option][aria-selected="true"] .name')!.textContent
      )
      await page.keyboard.press("Enter")
      await page.waitForURL("**/ui/agents/**")
      await page.getByRole("heading", { level: 1, name: chosen! }).waitFor()
      // Where the view has changed, reading begins anew.
      expect(await page.evaluate(() => document.activeElement!.id)).toBe("main")
      await page.keyboard.press("/")
      await page.getByRole("combobox", { name: "Search or do" }).fill("go to events")
      await page.keyboard.press("Enter")
      await page.waitForURL("**/ui/events")
      await page.context().close()
    },
    TIMEOUT
  )
})
