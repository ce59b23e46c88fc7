/** An envelope and a record with every field set, to test what carries them. */
import type { Envelope } from "../src/Envelope.ts"
import type { JobRecord } from "../src/JobRecord.ts"

export const envelope: Envelope = {
  version: 1,
  id: "job-1",
  queue: "mail",
  task: "SendEmail",
  key: "account-1",
  contentType: "application/json",
  headers: { traceparent: "00-1-2-01", tenant: "a" },
  enqueuedAt: 1_767_225_600_000,
  expiresAt: 1_767_229_200_000,
  maxAttempts: 5,
  replyTo: "client-1",
  body: new TextEncoder().encode("{\"to\":\"a@b.c\"}"),
  revision: 3,
  priority: "high",
  due: { _tag: "At", at: 1_767_225_660_000 },
  attempt: 2,
  deliveries: 1,
  writtenAt: 1_767_225_601_000,
  unknownSince: 1_767_225_602_000,
  lastError: "MailboxUnavailable",
  prevTraceparent: "00-1-3-01",
  signature: "1.k.code"
}

/** Only what an envelope must have. */
export const bareEnvelope: Envelope = {
  ...envelope,
  key: undefined,
  headers: {},
  expiresAt: undefined,
  maxAttempts: undefined,
  replyTo: undefined,
  revision: 0,
  due: undefined,
  attempt: 1,
  deliveries: 0,
  writtenAt: envelope.enqueuedAt,
  unknownSince: undefined,
  lastError: undefined,
  prevTraceparent: undefined,
  signature: undefined
}

export const record: JobRecord = {
  version: 1,
  id: "job-1",
  queue: "mail",
  task: "SendEmail",
  state: "failed",
  attempts: 5,
  finishedAt: 1_767_225_700_000,
  reason: "Error",
  message: "MailboxUnavailable",
  contentType: "application/json",
  value: new TextEncoder().encode("{\"_tag\":\"MailboxUnavailable\"}"),
  timeToLive: 3_600_000,
  valueTimeToLive: 60_000,
  replyTo: "client-1",
  signature: "1.k.code.value"
}

/** Only what a record must have. */
export const bareRecord: JobRecord = {
  ...record,
  state: "cancelled",
  reason: undefined,
  message: undefined,
  value: new Uint8Array(0),
  valueTimeToLive: record.timeToLive,
  replyTo: undefined,
  signature: undefined
}
