import { dhtLookup } from "../src/DhtLookup.ts"
import { brief } from "./brief.ts"

brief("dht", dhtLookup, 20_261_123)
