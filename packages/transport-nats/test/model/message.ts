/**
 * Messages of a modelled stream, and who hears of them.
 */
export interface Stored {
  readonly sequence: number
  readonly subject: string
  readonly headers: ReadonlyMap<string, string>
  readonly bytes: Uint8Array
  /** ms since the epoch. */
  readonly time: number
}

/** Who listens at the server. */
export interface Ears {
  readonly stored: (stream: string, message: Stored) => void
  readonly handedOut: (stream: string, handedOut: HandedOut) => void
}

export interface HandedOut {
  readonly message: Stored
  /** Names the hand-out in acknowledgements. */
  readonly reply: string
  readonly deliveries: number
}

/** ms that acknowledgements stay in memory before they are on disk, at most. */
export const lag = 500
