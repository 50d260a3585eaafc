/// <reference types="node" />
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { relative, resolve, sep } from "node:path"
import { defineConfig, type Plugin } from "vite"

const here = import.meta.dirname
const repository = resolve(here, "../..")
const registry = process.env["PARLEY_REGISTRY"] ?? "http://127.0.0.1:8000"

/**
 * Writes `sources.json` beside what is built: the SHA-256 of every file of ours that went into it, so that a test can say when the
 * committed assets are no longer those of the sources.
 */
const sources = (): Plugin => {
  const seen = new Set([
    "apps/dashboard/index.html",
    "apps/dashboard/package-lock.json",
    "apps/dashboard/vite.config.ts"
  ])
  return {
    name: "parley-sources",
    moduleParsed({ id }) {
      const path = relative(repository, id.replace(/[?#].*$/, ""))
        .split(sep)
        .join("/")
      if (/^(apps|packages)\//.test(path) && !path.includes("node_modules/")) seen.add(path)
    },
    generateBundle: {
      order: "post",
      handler() {
        const hash = (path: string) =>
          createHash("sha256")
            .update(readFileSync(resolve(repository, path)))
            .digest("hex")
        const entries = [...seen].sort().map((path) => [path, hash(path)] as const)
        this.emitFile({
          type: "asset",
          fileName: "sources.json",
          source: `${JSON.stringify(Object.fromEntries(entries), null, 1)}\n`
        })
      }
    }
  }
}
const recorded = sources()
/** Workers are bundled apart: what goes into them counts as well. */
const recordedInWorkers: Plugin = { name: "parley-sources-of-workers", moduleParsed: recorded.moduleParsed! }

export default defineConfig({
  root: here,
  resolve: { alias: { "node:crypto": resolve(here, "src/platform/Crypto.ts") } },
  plugins: [recorded],
  worker: { format: "es", plugins: () => [recordedInWorkers] },
  build: {
    target: "es2023",
    outDir: "dist",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true
  },
  server: { proxy: { "^/(?!ui|src|@|node_modules|index.html|$).*": { target: registry, ws: true } } }
})
