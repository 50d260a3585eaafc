import { realGossip } from "../src/RealGossip.ts"
import { brief } from "./brief.ts"

brief("gossip", realGossip, 20_261_123)
