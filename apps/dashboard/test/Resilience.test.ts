/** What the dashboard does when things are not as they should be: no token, no registry, no WebGL, thousands of agents. */
import { afterAll, beforeAll, describe, expect } from "bun:test"
import type { Browser } from "playwright-core"
import { skipTest } from "../../../test-support/Skip.ts"
import * as Chromium from "./Chromium.ts"
import * as RunningRegistry from "./RunningRegistry.ts"
import * as Seed from "./Seed.ts"

const test = skipTest(Chromium.absent)
const SEED = 20_261_123
const TIMEOUT = 120_000
const TOKEN = "an-operator-token-of-this-test-alone"
const MANY = 2_000
/** Frames that are waited for while a mesh of thousands works: the page goes on drawing, however slow the machine. */
const FRAMES = 24

let browser: Browser

beforeAll(async () => {
  if (Chromium.absent === undefined) browser = await Chromium.launch()
}, TIMEOUT)
afterAll(() => browser?.close())

describe("the dashboard in need", () => {
  test(
    "asks for a token where the registry wants one, keeps it in the tab, and forgets it",
    async () => {
      const registry = await RunningRegistry.start(TOKEN)
      const { page } = await Chromium.open(browser)
      const addresses: Array<string> = []
      page.on("request", (request) => addresses.push(request.url()))
      page.on("websocket", (socket) => addresses.push(socket.url()))
      await page.goto(`${registry.url}/ui/events`)
      await page.locator("[data-state=signed-out]").waitFor()
      await page.locator(".banner").getByRole("button", { name: "Sign in" }).click()
      const dialog = page.getByRole("dialog", { name: "Sign in to this registry" })
      await dialog.getByLabel("Token").fill("wrong")
      await dialog.getByRole("button", { name: "Sign in" }).click()
      await dialog.getByRole("alert").waitFor()
      await dialog.getByLabel("Token").fill(TOKEN)
      await dialog.getByRole("button", { name: "Sign in" }).click()
      await page.locator("[data-state=live]").waitFor()
      await page.reload()
      await page.locator("[data-state=live]").waitFor()
      await Seed.request(
        registry.url,
        "POST",
        "/agents/register",
        { agent_id: "agent-ada", name: "ada", endpoint: "ws://127.0.0.1:9000" },
        TOKEN
      )
      await page.getByRole("link", { name: "ada" }).first().waitFor()
      await page.getByRole("button", { name: /Sign out/ }).click()
      await page.locator("[data-state=signed-out]").waitFor()
      expect(await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }))).not.toContain(TOKEN)
      expect(addresses.filter((address) => address.includes(TOKEN))).toEqual([])
      await page.context().close()
      await registry.close()
    },
    TIMEOUT
  )

  test(
    "comes back after the registry was killed, and has all that happened meanwhile",
    async () => {
      const registry = await RunningRegistry.start()
      const random = Seed.seeded(SEED)
      const agents = await Seed.agents(registry.url, 6, random)
      const { page } = await Chromium.open(browser)
      const heard: Array<number> = []
      page.on("websocket", (socket) =>
        socket.on("framereceived", ({ payload }) => {
          const { cursor, type } = JSON.parse(String(payload)) as { readonly cursor: number; readonly type: string }
          if (type !== "position") heard.push(cursor)
        })
      )
      await page.goto(`${registry.url}/ui/events`)
      await page.locator("[data-state=live]").waitFor()
      await Seed.tasks(registry.url, agents, 5, random)
      await page.locator(".event").nth(20).waitFor()
      await registry.kill()
      await page.locator("[data-state=reconnecting]").waitFor()
      await page.getByText("The registry does not answer").waitFor()
      await registry.restart()
      // Before the page is back: it was not there when these were told.
      await Seed.tasks(registry.url, agents, 12, random)
      await page.locator("[data-state=live]").waitFor({ timeout: 15_000 })
      const { cursor } = (
        (await Seed.request(registry.url, "GET", "/health")) as { readonly parts: { readonly cursor: number } }
      ).parts
      await page.waitForFunction(
        (cursor) => document.querySelector(".event .cursor")?.textContent === `#${cursor}`,
        cursor
      )
      expect(heard).toEqual(Array.from({ length: cursor - heard[0]! + 1 }, (_, i) => heard[0]! + i))
      expect(await page.locator(".banner").count()).toBe(0)
      await page.context().close()
      await registry.close()
    },
    TIMEOUT
  )

  test(
    `goes on drawing with ${MANY} agents at work, and without WebGL still draws them`,
    async () => {
      const registry = await RunningRegistry.start()
      const random = Seed.seeded(SEED)
      const agents = await Seed.agents(registry.url, MANY, random)
      await Seed.tasks(registry.url, agents, 300, random)
      const { errors, page } = await Chromium.open(browser, { reducedMotion: "no-preference" })
      await page.goto(`${registry.url}/`)
      await page.locator("[data-state=live]").waitFor()
      await page.locator(".side .facts dd", { hasText: "2,000" }).first().waitFor()
      const drawn = page.evaluate(
        (frames) =>
          new Promise<number>((resolve) => {
            const began = performance.now()
            let left = frames
            const count = (now: number): void => {
              if (left-- > 0) requestAnimationFrame(count)
              else resolve((frames * 1_000) / (now - began))
            }
            requestAnimationFrame(count)
          }),
        FRAMES
      )
      await Seed.tasks(registry.url, agents, 60, random)
      console.log(`${MANY} agents: ${(await drawn).toFixed(1)} frames a second, drawn by software`)
      // Only what is in sight stands in the page.
      expect(await page.getByRole("option").count()).toBeLessThan(60)
      await page.getByRole("listbox", { name: "Agents" }).focus()
      await page.keyboard.press("End")
      await page.locator(`[aria-posinset="${MANY}"][aria-selected="true"]`).waitFor()
      expect(errors).toEqual([])
      await page.context().close()

      const poor = await Chromium.open(browser)
      await poor.page.addInitScript(() => {
        const real = HTMLCanvasElement.prototype.getContext
        HTMLCanvasElement.prototype.getContext = function (
          this: HTMLCanvasElement,
          kind: string,
          ...rest: Array<unknown>
        ) {
          return kind.startsWith("webgl") ? null : Reflect.apply(real, this, [kind, ...rest])
        } as typeof real
      })
      await poor.page.goto(`${registry.url}/`)
      await poor.page.locator('.stage[data-renderer="canvas"] canvas').waitFor()
      await poor.page.waitForFunction(() => {
        const canvas = document.querySelector<HTMLCanvasElement>(".stage canvas")!
        return (
          canvas.width > 0 &&
          canvas
            .getContext("2d")!
            .getImageData(0, 0, canvas.width, canvas.height)
            .data.some((value) => value > 0)
        )
      })
      expect(poor.errors).toEqual([])
      await poor.page.context().close()
      await registry.close()
    },
    TIMEOUT
  )
})
