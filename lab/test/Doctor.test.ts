import { doctor } from "../src/Doctor.ts"
import { brief } from "./brief.ts"

brief("doctor", doctor, 20_261_123)
