import { whole } from "../src/Whole.ts"
import { brief } from "./brief.ts"

brief("whole", whole, 20_261_125)
