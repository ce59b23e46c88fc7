/**
 * Troupe on Redis Streams.
 */
export * as RedisTransport from "./RedisTransport.ts"
