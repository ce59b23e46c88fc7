/**
 * Troupe on NATS JetStream.
 */
export * as NatsTransport from "./NatsTransport.ts"
