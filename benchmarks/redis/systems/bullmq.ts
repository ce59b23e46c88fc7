/**
 * BullMQ with its defaults: completed jobs are kept.
 */
import { Queue, QueueEvents, Worker } from "bullmq"
import { type Client, inFlight, stamp, type System, type Target, type WorkOptions } from "../../brokers/system.ts"
import { payload } from "../../payload.ts"

const connectionOf = (url: string) => {
  const { hostname, port } = new URL(url)
  return { host: hostname, port: Number(port), maxRetriesPerRequest: null }
}

const client = async ({ queue, url }: Target): Promise<Client> => {
  const jobs = new Queue(queue, { connection: connectionOf(url) })
  // every job that is waited for adds one
  jobs.setMaxListeners(0)
  await jobs.waitUntilReady()
  let events: QueueEvents | undefined
  return {
    enqueue: (count, callers) => inFlight(count, callers, (index) => jobs.add("job", payload(index))),
    bulk: async (count) => {
      await jobs.addBulk(Array.from({ length: count }, (_, index) => ({ name: "job", data: payload(index) })))
    },
    request: async (count, callers) => {
      if (events === undefined) {
        events = new QueueEvents(queue, { connection: connectionOf(url) })
        events.setMaxListeners(0)
        await events.waitUntilReady()
      }
      const listening = events
      const times: Array<number> = []
      await inFlight(count, callers, async (index) => {
        const start = performance.now()
        const job = await jobs.add("job", payload(index))
        await job.waitUntilFinished(listening)
        times.push(performance.now() - start)
      })
      return times
    },
    stamped: async () => {
      await jobs.add("job", { ...payload(0), amount: stamp() })
    },
    delayed: async (dues) => {
      const now = Date.now()
      await jobs.addBulk(dues.map((due, index) => ({
        name: "job",
        data: { ...payload(index), amount: due },
        opts: { delay: due - now, timestamp: now }
      })))
    },
    close: async () => {
      await events?.close()
      await jobs.close()
    }
  }
}

const work = async ({ queue, url }: Target, { concurrency, handler, onStart }: WorkOptions) => {
  let finished = 0
  const worker = new Worker(queue, async ({ data }) => {
    onStart(data)
    if (handler === "hop") await new Promise((resolve) => setImmediate(resolve))
    return { id: data.id, accepted: true }
  }, { connection: connectionOf(url), concurrency })
  worker.on("completed", () => {
    finished++
  })
  worker.on("error", () => {})
  await worker.waitUntilReady()
  return { finished: () => finished, close: () => worker.close(true) }
}

export const bullmq: System = { client, work }
