import { brief } from "./brief.ts"
import { failureDetection } from "../src/FailureDetection.ts"

brief("failure detection", failureDetection, 5)
