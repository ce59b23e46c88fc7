/**
 * Which of the 16384 slots of a cluster a key lies in: CRC16 (XMODEM) of its
 * hash tag, or of all of it.
 */

export const slots = 16_384

const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc & 0xffff
})

/** What stands between the first `{` and the next `}`, unless that is nothing. */
const tagOf = (key: string): string => {
  const start = key.indexOf("{")
  const end = start < 0 ? -1 : key.indexOf("}", start + 1)
  return end > start + 1 ? key.slice(start + 1, end) : key
}

export const slotOf = (key: string): number => {
  let crc = 0
  for (const byte of Buffer.from(tagOf(key))) crc = ((crc << 8) ^ table[(crc >> 8) ^ byte]!) & 0xffff
  return crc % slots
}
