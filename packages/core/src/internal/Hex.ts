/** Bytes as hex digits, without the buffer that `Buffer.from` would make of them. */
const pairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

/** Two lower-case digits a byte. */
export const hex = (bytes: Uint8Array): string => {
  let text = ""
  for (let i = 0; i < bytes.length; i++) text += pairs[bytes[i]!]
  return text
}
