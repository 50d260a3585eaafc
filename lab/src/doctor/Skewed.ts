/** The `parley` command on a machine whose clock is off: milliseconds, then the command's own arguments. */
const [runtime = "", file = "", off = "0", ...args] = process.argv
const now = Date.now.bind(Date)
Date.now = () => now() + Number(off)
process.argv = [runtime, file, ...args]
await import("../../../apps/cli/src/main.ts")
