/** What a mesh of a handful looks like, and a verdict over more than a word. */
import { afterAll, beforeAll, describe, expect } from "bun:test"
import type { Browser } from "playwright-core"
import { skipTest } from "../../../test-support/Skip.ts"
import * as Chromium from "./Chromium.ts"
import * as RunningRegistry from "./RunningRegistry.ts"
import * as Seed from "./Seed.ts"

const test = skipTest(Chromium.absent)
const SEED = 20_261_125
const TIMEOUT = 90_000
const AGENTS = 8

let registry: RunningRegistry.RunningRegistry
let browser: Browser

beforeAll(async () => {
  if (Chromium.absent !== undefined) return
  registry = await RunningRegistry.start()
  browser = await Chromium.launch()
  const all = await Seed.agents(registry.url, AGENTS, Seed.seeded(SEED))
  // One that asks four, two that only know each other, and one that nobody asked.
  const pairs = [
    [0, 1],
    [0, 2],
    [0, 3],
    [0, 4],
    [5, 6]
  ] as const
  for (const [from, to] of pairs)
    await Seed.task(registry.url, {
      from: all[from]!.id,
      to: all[to]!.id,
      id: `task-${from}-${to}`,
      capability: all[to]!.capability,
      ok: true,
      workMs: 0,
      quality: 1
    })
}, TIMEOUT)
afterAll(async () => {
  await browser?.close()
  await registry?.close()
})

interface Name {
  readonly x: number
  readonly y: number
  readonly width: number
}

describe("the dashboard of a small mesh", () => {
  for (const renderer of ["webgl", "canvas"] as const)
    test(
      `has every agent in sight with its name, and its parts near each other (${renderer})`,
      async () => {
        const { errors, page } = await Chromium.open(browser)
        await page.addInitScript((renderer) => {
          // Where names are written last tells where agents are.
          const names: { [name: string]: Name } = {}
          Object.assign(window, { names })
          const write = CanvasRenderingContext2D.prototype.fillText
          CanvasRenderingContext2D.prototype.fillText = function (text, x, y, most) {
            names[text] = { x, y, width: this.measureText(text).width }
            return Reflect.apply(write, this, most === undefined ? [text, x, y] : [text, x, y, most])
          }
          if (renderer === "webgl") return
          const real = HTMLCanvasElement.prototype.getContext
          HTMLCanvasElement.prototype.getContext = function (
            this: HTMLCanvasElement,
            kind: string,
            ...rest: Array<unknown>
          ) {
            return kind.startsWith("webgl") ? null : Reflect.apply(real, this, [kind, ...rest])
          } as typeof real
        }, renderer)
        await page.goto(`${registry.url}/`)
        await page.locator("[data-state=live]").waitFor()
        await page.locator(`.stage[data-renderer="${renderer}"][data-settled="true"]`).waitFor()
        await page.waitForFunction(
          (most) => Object.keys((window as unknown as { readonly names: object }).names).length >= most,
          AGENTS
        )
        // The frame after the last answer of the layout.
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))
        const { height, names, width } = await page.evaluate(() => {
          const { clientHeight: height, clientWidth: width } = document.querySelector(".stage")!
          return {
            height,
            names: (window as unknown as { readonly names: { readonly [name: string]: Name } }).names,
            width
          }
        })
        const places = Object.values(names)
        expect(Object.keys(names).sort()).toEqual("ada bob carol dora emil fay gus hana".split(" "))
        for (const { width: wide, x, y } of places) {
          expect(x).toBeGreaterThan(0)
          expect(x + wide).toBeLessThan(width)
          expect(y).toBeGreaterThan(0)
          expect(y).toBeLessThan(height)
        }
        // None is thrown far off, and together they fill the picture.
        for (const one of places) {
          const nearest = Math.min(
            ...places.filter((other) => other !== one).map((other) => Math.hypot(other.x - one.x, other.y - one.y))
          )
          expect(nearest).toBeLessThan(Math.min(width, height) * 0.45)
          expect(nearest).toBeGreaterThan(30)
        }
        const ys = places.map(({ y }) => y)
        const xs = places.map(({ x }) => x)
        expect(
          Math.max((Math.max(...ys) - Math.min(...ys)) / height, (Math.max(...xs) - Math.min(...xs)) / width)
        ).toBeGreaterThan(0.6)
        expect(errors).toEqual([])
        await page.context().close()
      },
      TIMEOUT
    )

  test(
    "shows a verdict over a table as a tree, a question that was cut as text, and where a dissenter differs",
    async () => {
      const table = (mean: number) => ({ rows: 118, columns: [{ name: "period", mean }] })
      const { certificate, task } = Seed.certificate(
        { csv: "number,name" },
        { agree: table(5.25), differ: table(6), agents: 5, dissenters: 1, seed: SEED }
      )
      const question = '{"csv":"number,name\\n1,\\"H\\"\\n2,H…'
      await Seed.request(registry.url, "POST", "/verdicts", { certificate, question })
      const { errors, page } = await Chromium.open(browser)
      await page.goto(`${registry.url}/ui/consensus/${task}`)
      await page.locator('[data-valid="true"]').waitFor()
      const agreed = page.getByRole("region", { name: "What was agreed" })
      expect(await agreed.textContent()).toContain("rows 118")
      await agreed.locator("summary", { hasText: "period" }).click()
      await agreed.locator(".leaf", { hasText: "mean 5.25" }).waitFor()
      expect(await page.getByRole("region", { name: "Votes" }).locator(".differs").allTextContents()).toEqual([
        "columns › 1 › mean: 6, agreed 5.25"
      ])
      const asked = page.getByRole("region", { name: "Question" }).locator(".text")
      expect(await asked.textContent()).toBe('{"csv":"number,name\n1,"H"\n2,H…')
      const entry = page.getByRole("region", { name: "Verdicts" }).locator("a").first()
      expect(await entry.textContent()).toMatch(/text\.sentiment@\^2.*number,name 1,"H" 2,H.*reached4 of 5asked by/s)
      expect(errors).toEqual([])
      await page.context().close()
    },
    TIMEOUT
  )

  test(
    "says where events are no longer kept, and goes on",
    async () => {
      const { page } = await Chromium.open(browser)
      await page.addInitScript(() => {
        const { WebSocket } = window
        window.WebSocket = class extends WebSocket {
          constructor(url: string | URL) {
            super(url)
            const data = JSON.stringify({
              type: "gap",
              cursor: 2,
              at: new Date().toISOString(),
              data: { from: 1, to: 2 }
            })
            this.addEventListener("open", () => this.dispatchEvent(new MessageEvent("message", { data })))
          }
        }
      })
      await page.goto(`${registry.url}/`)
      await page.getByText("are no longer kept: the log has a gap there").waitFor()
      await page.locator("[data-state=live]").waitFor()
      await page
        .locator(".side .facts dd", { hasText: String(AGENTS) })
        .first()
        .waitFor()
      await page.locator(".banner").getByRole("button").click()
      await page.locator(".banner").waitFor({ state: "detached" })
      await page.context().close()
    },
    TIMEOUT
  )
})
