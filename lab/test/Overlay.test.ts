import { overlay } from "../src/Overlay.ts"
import { brief } from "./brief.ts"

brief("overlay", overlay, 20_261_124)
