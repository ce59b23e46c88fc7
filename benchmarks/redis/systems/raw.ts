/**
 * What a loop of plain commands over ioredis does: no ids, no records, no
 * leases, no retries. A crash loses nothing; an answer may get lost.
 *
 * XADDs of one turn are pipelined. One trip acknowledges a batch, answers who
 * waits and reads the next one.
 */
import { Redis } from "ioredis"
import { setTimeout as sleep } from "node:timers/promises"
import { type Payload, payload } from "../../payload.ts"
import { type Client, inFlight, stamp, type System, type Target, type WorkOptions } from "../system.ts"

type Job = typeof Payload.Type

const group = "workers"

/** Sends what is added in one turn as one pipeline. */
const pipelined = (redis: Redis, queue: string) => {
  let pipeline = redis.pipeline()
  let waiting: Array<() => void> = []
  let armed = false
  return (job: Job): Promise<void> =>
    new Promise((resolve) => {
      pipeline.xadd(queue, "*", "p", JSON.stringify(job))
      waiting.push(resolve)
      if (armed) return
      armed = true
      process.nextTick(async () => {
        const [sent, resolves] = [pipeline, waiting]
        pipeline = redis.pipeline()
        waiting = []
        armed = false
        await sent.exec()
        for (const resume of resolves) resume()
      })
    })
}

const client = async ({ queue, url }: Target): Promise<Client> => {
  const redis = new Redis(url)
  const subscriber = new Redis(url)
  const results = `${queue}:results`
  const waiting = new Map<string, () => void>()
  await subscriber.subscribe(results)
  subscriber.on("message", (_: string, message: string) => {
    const { id } = JSON.parse(message)
    waiting.get(id)?.()
    waiting.delete(id)
  })
  const send = pipelined(redis, queue)
  let count = 0
  return {
    enqueue: (jobs, callers) => inFlight(jobs, callers, (index) => send(payload(index))),
    bulk: async (jobs) => {
      const pipeline = redis.pipeline()
      for (let i = 0; i < jobs; i++) pipeline.xadd(queue, "*", "p", JSON.stringify(payload(i)))
      await pipeline.exec()
    },
    request: async (jobs, callers) => {
      const times: Array<number> = []
      await inFlight(jobs, callers, async () => {
        const job = payload(count++)
        const start = performance.now()
        const result = new Promise<void>((resolve) => waiting.set(job.id, resolve))
        await send(job)
        await result
        times.push(performance.now() - start)
      })
      return times
    },
    stamped: () => send({ ...payload(0), amount: stamp() }),
    delayed: () => Promise.reject(new Error("streams know no due times")),
    close: async () => {
      redis.disconnect()
      subscriber.disconnect()
    }
  }
}

type Read = ReadonlyArray<[string, ReadonlyArray<[string, ReadonlyArray<string>]>]> | null

const work = async ({ queue, url }: Target, { concurrency, onStart, replies }: WorkOptions) => {
  const redis = new Redis(url)
  const blocking = new Redis(url)
  await redis.xgroup("CREATE", queue, group, "0", "MKSTREAM").catch(() => {})
  let finished = 0
  let closed = false
  let entries: Array<string> = []
  let answers: Array<string> = []
  const next = async (): Promise<Read> => {
    const pipeline = redis.pipeline()
    const settled = entries.length
    if (settled > 0) pipeline.xack(queue, group, ...entries).xdel(queue, ...entries)
    for (const answer of answers) pipeline.publish(`${queue}:results`, answer)
    pipeline.xreadgroup("GROUP", group, "c", "COUNT", concurrency, "STREAMS", queue, ">")
    const replied = await pipeline.exec()
    finished += settled
    entries = []
    answers = []
    return replied?.at(-1)?.[1] as Read
  }
  const loop = async () => {
    while (!closed) {
      const read = await next() ??
        await blocking.xreadgroup(
          "GROUP",
          group,
          "c",
          "COUNT",
          concurrency,
          "BLOCK",
          1_000,
          "STREAMS",
          queue,
          ">"
        ) as Read
      for (const [entry, fields] of read?.[0]?.[1] ?? []) {
        const job: Job = JSON.parse(fields[1]!)
        onStart(job)
        entries.push(entry)
        if (replies) answers.push(JSON.stringify({ id: job.id, accepted: true }))
      }
    }
  }
  const running = loop().catch((error: unknown) => {
    if (!closed) throw error
  })
  return {
    finished: () => finished,
    close: async () => {
      closed = true
      await sleep(20)
      redis.disconnect()
      blocking.disconnect()
      await running
    }
  }
}

export const raw: System = { client, work }
