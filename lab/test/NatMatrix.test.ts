import { natMatrix } from "../src/NatMatrix.ts"
import { brief } from "./brief.ts"

brief("nat", natMatrix, 20_261_121)
