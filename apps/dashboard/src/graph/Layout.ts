/** What the page and its layout worker tell each other. */
export interface LayoutQuestion {
  readonly generation: number
  readonly ids: ReadonlyArray<string>
  readonly edges: ReadonlyArray<readonly [from: string, to: string, weight: number]>
}
export interface LayoutAnswer {
  readonly generation: number
  /** x and y of each of `ids`. */
  readonly positions: Float32Array<ArrayBuffer>
  readonly settled: boolean
}

/** Starts the worker. */
export const startLayout = (onAnswer: (answer: LayoutAnswer) => void) => {
  const worker = new Worker(new URL("./Layout.worker.ts", import.meta.url), { type: "module", name: "layout" })
  worker.addEventListener("message", ({ data }: MessageEvent<LayoutAnswer>) => onAnswer(data))
  return {
    ask: (question: LayoutQuestion) => worker.postMessage(question, []),
    stop: () => worker.terminate()
  }
}
