/** The experiments of the lab, in the order of running. Each is loaded when it is run, so that one which is broken breaks no other. */
import type { Experiment } from "./Experiment.ts"

export const experiments: { readonly [name: string]: () => Promise<Experiment> } = {
  overlay: async () => (await import("./Overlay.ts")).overlay,
  detection: async () => (await import("./FailureDetection.ts")).failureDetection,
  whole: async () => (await import("./Whole.ts")).whole,
  gossip: async () => (await import("./RealGossip.ts")).realGossip,
  dht: async () => (await import("./DhtLookup.ts")).dhtLookup,
  nat: async () => (await import("./NatMatrix.ts")).natMatrix,
  machines: async () => (await import("./ThreeMachines.ts")).threeMachines,
  relays: async () => (await import("./Relays.ts")).relays,
  roaming: async () => (await import("./Roaming.ts")).roaming,
  airgap: async () => (await import("./AirGap.ts")).airGap,
  doctor: async () => (await import("./Doctor.ts")).doctor,
  hostile: async () => (await import("./Hostile.ts")).hostile
}
