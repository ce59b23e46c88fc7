/** Handlers at once, jobs of one `enqueueMany`, and single enqueues at once. */
export const concurrency = 64
export const batch = 64
