export * as Faults from "./Faults.ts"
export * as GuaranteeConformance from "./GuaranteeConformance.ts"
export * as Invariants from "./Invariants.ts"
export * as TransportConformance from "./TransportConformance.ts"
