export * as Mdns from "./Mdns.ts"
export * as Static from "./Static.ts"
export * as Tracker from "./Tracker.ts"
export * as TrackerServer from "./TrackerServer.ts"
