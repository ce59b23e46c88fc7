/**
 * Ends with 0 if the process on `PORT` is ready: an image without curl needs no more.
 */
const answer = await fetch(`http://127.0.0.1:${process.env.PORT ?? 3000}/ready`).catch(() => undefined)
process.exit(answer?.ok === true ? 0 : 1)
