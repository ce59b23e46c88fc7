/**
 * What a plain loop over JetStream does with the client as its pages show it:
 * publish, consume, put a result into a key-value bucket, acknowledge. As many
 * messages at once as Troupe runs jobs. No ids, no leases beyond the server's,
 * no retries.
 */
import { AckPolicy, jetstream, jetstreamManager, type JsMsg, RetentionPolicy } from "@nats-io/jetstream"
import { Kvm } from "@nats-io/kv"
import { connect } from "@nats-io/transport-node"
import { type Client, inFlight, stamp, type System, type Target, type WorkOptions } from "../../brokers/system.ts"
import { type Payload, payload } from "../../payload.ts"

type Job = typeof Payload.Type

/** A work queue, and a bucket for results. */
const prepare = async ({ queue, url }: Target) => {
  const connection = await connect({ servers: url })
  const manager = await jetstreamManager(connection)
  await manager.streams.add({ name: queue, subjects: [`${queue}.job`], retention: RetentionPolicy.Workqueue })
  const results = await new Kvm(connection).create(`${queue}_results`)
  await manager.consumers.add(queue, {
    durable_name: "workers",
    ack_policy: AckPolicy.Explicit,
    max_ack_pending: 10_000
  })
  return { connection, js: jetstream(connection), results }
}

const client = async (target: Target): Promise<Client> => {
  const { connection, js } = await prepare(target)
  const subject = `${target.queue}.job`
  const waiting = new Map<string, () => void>()
  connection.subscribe(`${target.queue}.done.>`, {
    callback: (_, message) => {
      const id = message.subject.slice(target.queue.length + 6)
      waiting.get(id)?.()
      waiting.delete(id)
    }
  })
  await connection.flush()
  const send = (job: Job) => js.publish(subject, JSON.stringify(job))
  let count = 0
  return {
    enqueue: (jobs, callers) => inFlight(jobs, callers, (index) => send(payload(index))),
    bulk: (jobs) => inFlight(jobs, 64, (index) => send(payload(index))),
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
    delayed: () => Promise.reject(new Error("JetStream 2.9 knows no due times")),
    close: () => connection.close()
  }
}

const work = async (target: Target, { concurrency, onStart, replies }: WorkOptions) => {
  const { connection, js, results } = await prepare(target)
  const consumer = await js.consumers.get(target.queue, "workers")
  let finished = 0
  const run = async (message: JsMsg) => {
    const job = message.json<Job>()
    onStart(job)
    await results.put(job.id, JSON.stringify({ id: job.id, accepted: true }))
    if (replies) connection.publish(`${target.queue}.done.${job.id}`)
    message.ack()
    finished++
  }
  const messages = await consumer.consume({
    max_messages: concurrency,
    callback: (message) => void run(message)
  })
  return {
    finished: () => finished,
    close: async () => {
      await messages.close()
      await connection.close()
    }
  }
}

export const raw: System = { client, work }
