#!/usr/bin/env node
import { run } from "../../../scripts/run.mjs"

await run("parley", process.argv.slice(2))
