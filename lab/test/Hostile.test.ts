import { hostile } from "../src/Hostile.ts"
import { brief } from "./brief.ts"

brief("hostile", hostile, 20_261_121)
