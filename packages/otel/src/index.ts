/**
 * Troupe's traces and metrics through OpenTelemetry.
 */
export * as Otel from "./Otel.ts"
