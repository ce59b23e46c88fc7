/**
 * The least rights of each role.
 */
import * as Names from "./names.ts"

export type Role = "producer" | "worker" | "admin"

export interface Permissions {
  readonly publish: ReadonlyArray<string>
  readonly subscribe: ReadonlyArray<string>
}

export interface PermissionOptions {
  /** Default: `troupe`. */
  readonly namespace?: string | undefined
  /** Rights on a stream name it in full, so the queues have to be known. */
  readonly queues: ReadonlyArray<string>
  /** As in the options of the transport: a user must not hear the answers to another one. Default: `_INBOX`. */
  readonly inboxPrefix?: string | undefined
}

const readingOf = (stream: string): ReadonlyArray<string> => [
  `$JS.API.STREAM.INFO.${stream}`,
  `$JS.API.DIRECT.GET.${stream}`,
  `$JS.API.STREAM.MSG.GET.${stream}`
]

/** What a worker needs of a stream with consumers. */
const ofWork = (stream: string): ReadonlyArray<string> => [
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
  `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.*`,
  `$JS.API.CONSUMER.DELETE.${stream}.*`,
  `$JS.ACK.${stream}.>`
]

/**
 * Rights for `permissions` of a user in the server's configuration. A producer
 * sends, follows and cancels jobs; a worker runs them, too; an admin may create
 * the streams. Without an admin among them, use `bindOnly`.
 */
export const permissions = (role: Role, options: PermissionOptions): Permissions => {
  const { inboxPrefix = "_INBOX", namespace = "troupe" } = options
  const queues = options.queues.map((queue) => Names.queueNames(namespace, queue))
  const table = Names.table(namespace)
  // a purge would make the consumers of these forget their messages
  const jobs = queues.flatMap(({ delays, work }) => [work, delays])
  const others = [table, ...queues.flatMap(({ mailboxes, rows }) => [mailboxes, rows])]
  const streams = [...jobs, ...others]
  const prefixes = queues.flatMap(({ prefix }) => [prefix.work, prefix.delays, prefix.mailboxes, prefix.rows])
  const publish = [
    ...[Names.tablePrefix(namespace), Names.busPrefix(namespace), ...prefixes].map((prefix) => `${prefix}>`),
    ...streams.flatMap(readingOf),
    // cancelled jobs
    ...jobs.map((stream) => `$JS.API.STREAM.MSG.DELETE.${stream}`),
    // rows and mailboxes that are over
    ...others.map((stream) => `$JS.API.STREAM.PURGE.${stream}`),
    // where jobs are
    ...queues.map(({ work }) => `$JS.API.CONSUMER.INFO.${work}.*`)
  ]
  if (role !== "producer") publish.push(...jobs.flatMap(ofWork))
  if (role === "admin") publish.push(...streams.map((stream) => `$JS.API.STREAM.CREATE.${stream}`))
  for (const { delays } of role === "producer" ? [] : queues) publish.push(`$JS.API.CONSUMER.INFO.${delays}.*`)
  return { publish, subscribe: [`${inboxPrefix}.>`, `${Names.busPrefix(namespace)}>`] }
}
