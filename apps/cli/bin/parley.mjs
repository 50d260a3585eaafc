#!/usr/bin/env node
import { run } from "../../../scripts/run.mjs"

run("parley", process.argv.slice(2))
