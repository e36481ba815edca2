/**
 * `encode` and `decode` of `@std/msgpack`, from `@msgpack/msgpack`. They differ where main.ts does
 * not look: this `decode` refuses a key `__proto__`, knows extension types (the framing refuses
 * them before), and makes other characters of bytes that are not UTF-8 (main.ts reads text itself).
 */
import { decode as decodeNpm, encode as encodeNpm } from "@msgpack/msgpack";

/** A MessagePack value as bytes; a `bigint` as an integer of 64 bits, other numbers as small as they go. */
export function encode(value: unknown): Uint8Array<ArrayBuffer> {
  return encodeNpm(value, { useBigInt64: true });
}

/**
 * The value of one whole MessagePack message, integers of 64 bits as `bigint`.
 *
 * @throws When it is not one whole value.
 */
export function decode(bytes: Uint8Array): unknown {
  return decodeNpm(bytes, { useBigInt64: true });
}
