import "uplot/dist/uPlot.min.css"
import "./style.css"
import { render } from "preact"
import { App } from "./App.tsx"
import * as Router from "./Router.ts"
import * as Boot from "./state/Boot.ts"
import * as Theme from "./state/Theme.ts"

Theme.start()
Router.start()
void Boot.start()
render(<App />, document.getElementById("app")!)
