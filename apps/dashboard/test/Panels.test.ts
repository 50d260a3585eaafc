/** Each view of the dashboard in a real Chromium, over a registry that runs and a mesh that works. */
import { afterAll, beforeAll, describe, expect } from "bun:test"
import type { Browser, Page } from "playwright-core"
import { skipTest } from "../../../test-support/Skip.ts"
import * as Chromium from "./Chromium.ts"
import * as RunningRegistry from "./RunningRegistry.ts"
import * as Seed from "./Seed.ts"

const test = skipTest(Chromium.absent)
const SEED = 20_261_121
const TIMEOUT = 90_000

let registry: RunningRegistry.RunningRegistry
let browser: Browser
let agents: ReadonlyArray<Seed.SeededAgent>
let verdict: Awaited<ReturnType<typeof Seed.verdict>>
let stop: () => void = () => undefined

beforeAll(async () => {
  if (Chromium.absent !== undefined) return
  registry = await RunningRegistry.start()
  const random = Seed.seeded(SEED)
  agents = await Seed.agents(registry.url, 30, random)
  stop = await Seed.heartbeats(
    registry.url,
    agents.slice(0, 12).map(({ id }, i) => ({ id, load: i === 0 ? 1 : 0 }))
  )
  await Seed.tasks(registry.url, agents, 60, random, { workMs: 40 })
  await Seed.memory(registry.url)
  verdict = await Seed.verdict(
    registry.url,
    { text: "The parcel came late, but what was in it is wonderful." },
    { agree: { label: "positive" }, differ: { label: "negative" }, agents: 5, dissenters: 1, seed: SEED }
  )
  browser = await Chromium.launch()
}, TIMEOUT)
afterAll(async () => {
  stop()
  await browser?.close()
  await registry?.close()
})

/** Opens a view, does something with it, and expects that nothing went wrong in the page. */
const visit = async (path: string, body: (page: Page) => Promise<void>): Promise<void> => {
  const { errors, page } = await Chromium.open(browser)
  try {
    await page.goto(registry.url + path)
    await body(page)
    expect(errors).toEqual([])
  } finally {
    await page.context().close()
  }
}

const live = (page: Page) => page.locator("[data-state=live]").waitFor()
const quick = { from: "agent-ada", to: "agent-bob", capability: "csv.clean", ok: true, workMs: 5, quality: 0.9 }

describe("the dashboard's views", () => {
  test(
    "draw the mesh with WebGL, and the same as a list that leads to an agent",
    () =>
      visit("/", async (page) => {
        await live(page)
        await page.locator('.stage[data-renderer="webgl"] canvas').first().waitFor()
        expect(await page.locator(".about").textContent()).toMatch(/^\d+ pairs in \d+ traces$/)
        expect(await page.locator(".side .facts dd").first().textContent()).toContain("30")
        await page.getByRole("searchbox", { name: "Filter agents" }).fill("csv.describe")
        await page.getByRole("option").first().waitFor()
        expect(await page.getByRole("option").count()).toBeLessThan(30)
        await page.getByRole("option").filter({ hasText: "ada" }).first().click()
        await page.waitForURL("**/ui/agents/agent-ada")
        await page.goBack()
        expect(new URL(page.url()).pathname).toBe("/")
        expect(await page.getByRole("searchbox", { name: "Filter agents" }).inputValue()).toBe("csv.describe")
      }),
    TIMEOUT
  )

  test(
    "show what happens as it happens: a status, a load, a pair",
    () =>
      visit("/", async (page) => {
        await live(page)
        const before = Number(/\d+/.exec((await page.locator(".about").textContent())!)![0])
        await Seed.request(registry.url, "POST", "/agents/register", {
          agent_id: "agent-newcomer",
          name: "newcomer",
          endpoint: "ws://127.0.0.1:9000"
        })
        await Seed.task(registry.url, { ...quick, to: "agent-newcomer", id: "task-newcomer" })
        await page.getByRole("option").filter({ hasText: "newcomer" }).waitFor()
        await page.waitForFunction(
          (before) => Number(/\d+/.exec(document.querySelector(".about")!.textContent!)![0]) > before,
          before
        )
      }),
    TIMEOUT
  )

  test(
    "list all agents as a table that sorts and filters by its address",
    () =>
      visit("/ui/agents?order=trust", async (page) => {
        await live(page)
        await page.locator("tbody tr td").first().waitFor()
        const trust = async () =>
          (await page.locator("tbody .score .num").allTextContents()).map((text) => Number(/[\d.]+$/.exec(text)![0]))
        const sorted = await trust()
        expect(sorted.length).toBeGreaterThan(20)
        expect(sorted).toEqual([...sorted].sort((a, b) => b - a))
        await page.getByRole("button", { name: /^Trust/ }).click()
        await page.waitForURL("**reverse=1")
        expect(await trust()).toEqual([...(await trust())].sort((a, b) => a - b))
        await page.getByRole("combobox", { name: "Status" }).selectOption("offline")
        await page.waitForURL("**status=offline**")
      }),
    TIMEOUT
  )

  test(
    "tell of an agent: charts, intervals, capabilities, tasks, and its statement checked here",
    () =>
      visit("/ui/agents/agent-ada", async (page) => {
        await page.getByRole("heading", { level: 1, name: "ada" }).waitFor()
        await page
          .getByRole("img", { name: /^Trust after the last \d+ reports/ })
          .locator("canvas")
          .waitFor()
        await page
          .getByRole("img", { name: /^How long the last \d+ tasks took/ })
          .locator("canvas")
          .waitFor()
        await page
          .getByRole("img", { name: /^\d+ of the last \d+ traced tasks were answered/ })
          .locator("canvas")
          .waitFor()
        await page.locator(".interval").first().waitFor()
        expect(await page.getByRole("region", { name: "Capabilities" }).textContent()).toContain("csv.describe")
        expect(await page.getByRole("region", { name: "Last tasks" }).locator("tbody tr").count()).toBeGreaterThan(0)
        // Its figures follow what happens.
        const done = page.locator(".facts > div", { hasText: "Reported good" }).locator("dd")
        const before = Number(await done.textContent())
        await Seed.task(registry.url, { ...quick, from: "agent-bob", to: "agent-ada", id: "task-for-ada" })
        await page.waitForFunction(
          (before) =>
            [...document.querySelectorAll(".facts > div")].some(
              (one) => one.textContent!.startsWith("Reported good") && Number(/\d+/.exec(one.textContent!)![0]) > before
            ),
          before
        )
        await page.getByRole("button", { name: "Ask for it" }).click()
        await page.locator('[data-valid="true"]').waitFor()
      }),
    TIMEOUT
  )

  test(
    "say of an agent without reports what is not known, and of one that is not there that it is not",
    async () => {
      await Seed.request(registry.url, "POST", "/agents/register", {
        agent_id: "agent-quiet",
        name: "quiet",
        endpoint: "ws://127.0.0.1:9000"
      })
      await visit("/ui/agents/agent-quiet", async (page) => {
        await page.getByText("No report yet").waitFor()
        expect(await page.getByText("No trace tells how long it worked.").count()).toBe(1)
        expect(await page.locator(".chart canvas").count()).toBe(0)
      })
      await visit("/ui/agents/agent-nobody", async (page) => {
        await page.getByText("Not registered").waitFor()
      })
    },
    TIMEOUT
  )

  test(
    "show tasks over time, and one task as a waterfall that grows",
    () =>
      visit("/ui/tasks", async (page) => {
        await page.locator(".lane").first().waitFor()
        expect(await page.locator(".lane").count()).toBe(14)
        await Seed.task(registry.url, { ...quick, id: "task-watched" })
        await page.getByRole("link", { name: "task-watched" }).first().click()
        await page.waitForURL("**/ui/tasks/task-watched")
        await page.getByRole("heading", { level: 1, name: "csv.clean" }).waitFor()
        expect(await page.locator(".lane .span").count()).toBe(2)
        expect(await page.getByRole("region", { name: "Traces" }).locator("tbody tr").count()).toBe(3)
        await Seed.request(registry.url, "POST", "/traces", {
          task_id: "task-watched",
          event_type: "request_sent",
          from_agent: "agent-ada",
          to_agent: "agent-carol",
          payload: {}
        })
        await page.waitForFunction(() => document.querySelectorAll(".lane").length === 2)
      }),
    TIMEOUT
  )

  test(
    "check a verdict's certificate here, and refuse a forged one wherever it comes from",
    async () => {
      await visit(`/ui/consensus/${verdict.task}`, async (page) => {
        await page.locator('[data-valid="true"]').waitFor()
        expect(await page.locator(".seal").textContent()).toContain("5 receipts of 5 distinct agents")
        const votes = page.getByRole("region", { name: "Votes" })
        expect(await votes.locator(".vote.ok .tag").count()).toBe(4)
        expect(await votes.locator(".vote.warn .tag").count()).toBe(1)
      })
      const forged = JSON.parse(JSON.stringify(verdict.certificate)) as { answers: Array<{ value: unknown }> }
      forged.answers[0]!.value = { label: "positive" }
      // A registry that lies.
      const { page } = await Chromium.open(browser)
      await page.route(/\/verdicts/, async (route) => {
        const answer = await route.fetch()
        const text = (await answer.text()).replace('"label":"negative"', '"label":"positive"')
        await route.fulfill({ response: answer, body: text })
      })
      await page.goto(`${registry.url}/ui/consensus/${verdict.task}`)
      await page.locator('[data-valid="false"]').waitFor()
      await page.context().close()
      // Somebody who lies.
      await visit("/ui/consensus/check", async (page) => {
        await page.getByLabel("Paste the JSON").fill(JSON.stringify(forged))
        await page.getByRole("button", { name: "Check", exact: true }).click()
        await page.locator('[data-valid="false"]').waitFor()
        await page.getByLabel("Paste the JSON").fill(JSON.stringify(verdict.certificate))
        await page.getByRole("button", { name: "Check", exact: true }).click()
        await page.locator('[data-valid="true"]').waitFor()
      })
    },
    TIMEOUT
  )

  test(
    "read, set and forget what a session shares",
    () =>
      visit("/ui/memory/report-2026-11", async (page) => {
        await page.getByRole("cell", { name: "rows", exact: true }).waitFor()
        await page.getByLabel("Key").fill("mood")
        await page.getByLabel("Value, as JSON or text").fill('{"is":"good"}')
        await page.getByRole("button", { name: "Set", exact: true }).click()
        await page.getByRole("cell", { name: "mood", exact: true }).waitFor()
        expect(await Seed.request(registry.url, "GET", "/memory/report-2026-11/mood")).toMatchObject({
          value: { is: "good" }
        })
        await page.getByRole("button", { name: "Forget mood" }).click()
        await page.getByRole("cell", { name: "mood", exact: true }).waitFor({ state: "detached" })
      }),
    TIMEOUT
  )

  test(
    "log events from before and from now, filter them, and stand still when asked to",
    () =>
      visit("/ui/events", async (page) => {
        await live(page)
        await page.locator(".event").nth(50).waitFor()
        await Seed.task(registry.url, { ...quick, id: "task-logged" })
        await page.getByRole("link", { name: "task-logged" }).first().waitFor()
        await page.getByRole("combobox", { name: "Kind of event" }).selectOption("trust.changed")
        await page.waitForFunction(() =>
          [...document.querySelectorAll(".event .pill")].every((pill) => pill.textContent === "trust.changed")
        )
        await page.getByRole("button", { name: "Pause" }).click()
        const first = await page.locator(".event .cursor").first().textContent()
        await Seed.task(registry.url, { ...quick, id: "task-while-paused" })
        const goOn = page.getByRole("button", { name: /^Go on, \d+ new/ })
        await goOn.waitFor()
        expect(await page.locator(".event .cursor").first().textContent()).toBe(first)
        await goOn.click()
        await page.waitForFunction((first) => document.querySelector(".event .cursor")!.textContent !== first, first)
        await page.locator(".event .cursor").first().click()
        await page.locator(".event-open .json").waitFor()
      }),
    TIMEOUT
  )

  test(
    "discover with the reasons of each rank, by an address that can be shared",
    () =>
      visit("/ui/discover", async (page) => {
        await page.getByLabel("Or by name").fill("csv.clean")
        await page.getByRole("button", { name: "Ask" }).click()
        await page.waitForURL("**name=csv.clean**")
        const found = page.getByRole("region", { name: "Found" })
        await found.locator("tbody tr").first().waitFor()
        expect(await found.locator("tbody tr").first().textContent()).toMatch(/meaning \d\.\d\d × \d\.\d\d/)
        await page.reload()
        await found.locator("tbody tr").first().waitFor()
      }),
    TIMEOUT
  )

  test(
    "count everything, and say how the registry is",
    () =>
      visit("/ui/stats", async (page) => {
        const stats = (await Seed.request(registry.url, "GET", "/stats")) as { readonly total_agents: number }
        await page
          .locator(".facts dd", { hasText: String(stats.total_agents) })
          .first()
          .waitFor()
        await page.getByText("sqlite").first().waitFor()
        await page.getByText(/links, ends in [0-9a-f]{16}/).waitFor()
      }),
    TIMEOUT
  )

  test(
    "do by the palette what one can do: go, search, filter, copy, change the theme",
    () =>
      visit("/", async (page) => {
        await live(page)
        const palette = page.getByRole("combobox", { name: "Search or do" })
        const pick = async (typed: string): Promise<void> => {
          await page.keyboard.press("Control+k")
          await palette.fill(typed)
          await page.keyboard.press("Enter")
          await palette.waitFor({ state: "detached" })
        }
        await pick("go to stats")
        await page.waitForURL("**/ui/stats")
        await pick("carol")
        await page.waitForURL("**/ui/agents/agent-carol")
        await page.context().grantPermissions(["clipboard-read", "clipboard-write"])
        await pick("copy the id")
        await page.getByText("id copied").waitFor()
        expect(await page.evaluate(() => navigator.clipboard.readText())).toBe("agent-carol")
        await pick("switch to dark")
        expect(
          await page.evaluate(
            () => getComputedStyle(document.body).colorScheme || document.documentElement.dataset["theme"]
          )
        ).toContain("dark")
        await page.reload()
        await live(page)
        expect(await page.evaluate(() => document.documentElement.dataset["theme"])).toBe("dark")
        await pick("show offline")
        await page.waitForURL(registry.url + "/")
        await page.locator('[aria-pressed="true"]', { hasText: "offline" }).waitFor()
        await page.keyboard.press("Control+k")
        await palette.fill("text.transl")
        await page.getByRole("option", { name: /^text\.translate/ }).click()
        await page.waitForURL("**/ui/discover?name=text.translate")
        await page.route("**/capabilities?*", (route) =>
          route.fulfill({ status: 503, json: { detail: "the database is away" } })
        )
        await page.keyboard.press("Control+k")
        await palette.fill("text.transl")
        await page.getByRole("status").filter({ hasText: "was not searched: the database is away" }).waitFor()
        await page.keyboard.press("Escape")
        await palette.waitFor({ state: "detached" })
      }),
    TIMEOUT
  )
})
