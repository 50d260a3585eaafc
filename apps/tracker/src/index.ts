export * as Tracker from "./Tracker.ts"
