import { airGap } from "../src/AirGap.ts"
import { brief } from "./brief.ts"

brief("airgap", airGap, 20_261_121)
