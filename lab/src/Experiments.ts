/** The experiments of the lab, in the order of running. Each is loaded when it is run, so that one which is broken breaks no other. */
import type { Experiment } from "./Experiment.ts"

export const experiments: { readonly [name: string]: () => Promise<Experiment> } = {
  overlay: async () => (await import("./Overlay.ts")).overlay,
  whole: async () => (await import("./Whole.ts")).whole,
  detection: async () => (await import("./FailureDetection.ts")).failureDetection,
  gossip: async () => (await import("./RealGossip.ts")).realGossip,
  hostile: async () => (await import("./Hostile.ts")).hostile,
  relays: async () => (await import("./Relays.ts")).relays,
  roaming: async () => (await import("./Roaming.ts")).roaming,
  nat: async () => (await import("./NatMatrix.ts")).natMatrix,
  dht: async () => (await import("./DhtLookup.ts")).dhtLookup,
  doctor: async () => (await import("./Doctor.ts")).doctor,
  machines: async () => (await import("./ThreeMachines.ts")).threeMachines,
  airgap: async () => (await import("./AirGap.ts")).airGap
}
