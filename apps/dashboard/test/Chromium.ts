/** A real Chromium, without a window, for tests and screenshots. */
import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import type { Browser, BrowserContextOptions, BrowserType, Page } from "playwright-core"

const paths = [process.env["CHROMIUM_PATH"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
const path = paths.find((path) => path !== undefined && existsSync(path))

/** Why there are no browser tests here, if there are none. */
export const absent: string | undefined =
  path === undefined ? "no Chromium at /usr/bin/chromium nor at CHROMIUM_PATH" : undefined

/** WebGL in software: a machine that tests has no graphics card. */
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--use-gl=angle",
  "--use-angle=swiftshader",
  "--enable-unsafe-swiftshader"
]

/** Starts it. Its last page closes with it. */
export const launch = (more: ReadonlyArray<string> = []): Promise<Browser> => {
  // Deno reads its ES module wrongly; its CommonJS one works on both.
  const { chromium } = createRequire(import.meta.url)("playwright-core") as { readonly chromium: BrowserType }
  return chromium.launch({ executablePath: path!, headless: true, args: [...args, ...more] })
}

/** A page that collects what went wrong in it: errors, and what its own policy forbade. */
export interface Watched {
  readonly page: Page
  readonly errors: Array<string>
}

export const open = async (browser: Browser, options: BrowserContextOptions = {}): Promise<Watched> => {
  const context = await browser.newContext({
    reducedMotion: "reduce",
    viewport: { width: 1280, height: 800 },
    ...options
  })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  const errors: Array<string> = []
  page.on("pageerror", (error) => errors.push(`${error.name}: ${error.message}`))
  page.on("console", (message) => {
    // The browser itself logs each answer that is an error; those are the tests' own.
    if (message.type() === "error" && !/Failed to load resource|WebSocket connection/.test(message.text()))
      errors.push(message.text())
  })
  return { page, errors }
}
