import { roaming } from "../src/Roaming.ts"
import { brief } from "./brief.ts"

brief("roaming", roaming, 20_261_121)
