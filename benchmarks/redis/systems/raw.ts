/**
 * A loop of plain commands over ioredis: no ids, no records, no leases, no
 * retries. XADDs of one turn travel together, as ioredis does it by itself; a
 * worker reads a batch with a blocking XREADGROUP, then acknowledges and
 * deletes it, and answers who waits, in one pipeline.
 */
import { Redis } from "ioredis"
import { type Client, inFlight, stamp, type System, type Target, type WorkOptions } from "../../brokers/system.ts"
import { type Payload, payload } from "../../payload.ts"

type Job = typeof Payload.Type

const group = "workers"

const client = async ({ queue, url }: Target): Promise<Client> => {
  const redis = new Redis(url, { enableAutoPipelining: true })
  const subscriber = new Redis(url)
  const results = `${queue}:results`
  const waiting = new Map<string, () => void>()
  await subscriber.subscribe(results)
  subscriber.on("message", (_: string, message: string) => {
    const { id } = JSON.parse(message)
    waiting.get(id)?.()
    waiting.delete(id)
  })
  const send = (job: Job) => redis.xadd(queue, "*", "p", JSON.stringify(job))
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
    stamped: async () => {
      await send({ ...payload(0), amount: stamp() })
    },
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
  await redis.xgroup("CREATE", queue, group, "0", "MKSTREAM").catch(() => {})
  let finished = 0
  let closed = false
  const loop = async () => {
    while (!closed) {
      const read = await redis.xreadgroup(
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
      )
      const entries: Array<string> = []
      const pipeline = redis.pipeline()
      for (const [entry, fields] of (read as Read)?.[0]?.[1] ?? []) {
        const job: Job = JSON.parse(fields[1]!)
        onStart(job)
        entries.push(entry)
        if (replies) pipeline.publish(`${queue}:results`, JSON.stringify({ id: job.id, accepted: true }))
      }
      if (entries.length === 0) continue
      await pipeline.xack(queue, group, ...entries).xdel(queue, ...entries).exec()
      finished += entries.length
    }
  }
  const running = loop().catch((error: unknown) => {
    if (!closed) throw error
  })
  return {
    finished: () => finished,
    close: async () => {
      closed = true
      redis.disconnect()
      await running
    }
  }
}

export const raw: System = { client, work }
