import { threeMachines } from "../src/ThreeMachines.ts"
import { brief } from "./brief.ts"

brief("machines", threeMachines, 20_261_124)
