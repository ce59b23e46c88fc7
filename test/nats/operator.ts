/**
 * An operator of NATS with one account: the JWTs that `nsc` would write, made
 * for one test.
 */
import { nkeys } from "@nats-io/transport-node"
import { createHash } from "node:crypto"

type KeyPair = ReturnType<typeof nkeys.createUser>

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

const base32 = (bytes: Uint8Array): string => {
  let text = ""
  let [value, bits] = [0, 0]
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff
    bits += 8
    while (bits >= 5) text += alphabet[(value >>> (bits -= 5)) & 31]
  }
  return bits > 0 ? text + alphabet[(value << (5 - bits)) & 31] : text
}

const part = (content: unknown): string => Buffer.from(JSON.stringify(content)).toString("base64url")

const sign = (issuer: KeyPair, subject: KeyPair, name: string, nats: object, expiresAt?: number): string => {
  const claims = {
    iss: issuer.getPublicKey(),
    sub: subject.getPublicKey(),
    iat: Math.floor(Date.now() / 1_000),
    exp: expiresAt,
    name,
    nats: { version: 2, ...nats }
  }
  const jti = base32(createHash("sha512-256").update(JSON.stringify(claims)).digest())
  const body = `${part({ typ: "JWT", alg: "ed25519-nkey" })}.${part({ jti, ...claims })}`
  return `${body}.${Buffer.from(issuer.sign(Buffer.from(body))).toString("base64url")}`
}

const unlimited = { subs: -1, data: -1, payload: -1 }
const account = {
  type: "account",
  limits: {
    ...unlimited,
    imports: -1,
    exports: -1,
    wildcards: true,
    conn: -1,
    leaf: -1,
    mem_storage: -1,
    disk_storage: -1,
    streams: -1,
    consumer: -1
  }
}

/** `settings` of a server, and creds files of users of its account. `expiresAt`: seconds since the epoch. */
export const makeOperator = () => {
  const [operator, system, jobs] = [nkeys.createOperator(), nkeys.createAccount(), nkeys.createAccount()]
  const systemLimits = { ...account.limits, mem_storage: 0, disk_storage: 0, streams: 0, consumer: 0 }
  const settings = `
operator: ${sign(operator, operator, "operator", { type: "operator" })}
system_account: ${system.getPublicKey()}
resolver: MEMORY
resolver_preload: {
  ${system.getPublicKey()}: ${sign(operator, system, "SYS", { ...account, limits: systemLimits })}
  ${jobs.getPublicKey()}: ${sign(operator, jobs, "jobs", account)}
}
`
  const creds = (expiresAt?: number, issuer: KeyPair = jobs): string => {
    const user = nkeys.createUser()
    const jwt = sign(issuer, user, "worker", { type: "user", ...unlimited }, expiresAt)
    const seed = Buffer.from(user.getSeed()).toString()
    return `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n\n` +
      `-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`
  }
  return { settings, creds, stranger: () => creds(undefined, nkeys.createAccount()) }
}
