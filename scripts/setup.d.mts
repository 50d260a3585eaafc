export type Runtime = "bun" | "deno"
export const root: string
export const host: Runtime | "node"
export const ensureInstalled: () => void
export const areRivalsInstalled: () => boolean
export const ensureRivalsInstalled: () => void
export const ensureDashboardInstalled: () => void
export const runtimePath: (runtime: Runtime) => string
export const runCommand: (runtime: Runtime, file: string) => [string, ...Array<string>]
export const toolCommand: (path: string) => [string, ...Array<string>]
export const chosenRuntime: () => Runtime
export const whenOrphaned: (callback: () => void) => void
