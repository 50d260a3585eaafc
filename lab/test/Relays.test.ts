import { relays } from "../src/Relays.ts"
import { brief } from "./brief.ts"

brief("relays", relays, 20_261_122)
