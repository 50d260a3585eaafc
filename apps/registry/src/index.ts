export * as Registry from "./Registry.ts"
