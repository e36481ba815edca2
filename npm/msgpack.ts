/**
 * `encode` and `decode` of `@std/msgpack`, from `@msgpack/msgpack`. They differ where main.ts does
 * not look: this `decode` knows extension types (the framing refuses them before), and makes other
 * characters of bytes that are not UTF-8 (main.ts refuses those before).
 */
import { decode as decodeNpm, encode as encodeNpm } from "@msgpack/msgpack";

/** A MessagePack value as bytes; a `bigint` as an integer of 64 bits, other numbers as small as they go. */
export function encode(value: unknown): Uint8Array<ArrayBuffer> {
  return encodeNpm(value, INTEGERS);
}

const INTEGERS = { useBigInt64: true };

// npm's decode refuses a key `__proto__`, and that of @std takes it like any other key. With these
// options the key is an object at first, which npm does not refuse, and then text again.
const WITH_PROTO = {
  ...INTEGERS,
  keyDecoder: {
    canBeCached: () => true,
    decode: (bytes: Uint8Array, offset: number, byteLength: number) =>
      new String(new TextDecoder().decode(bytes.subarray(offset, offset + byteLength))) as string,
  },
  mapKeyConverter: String,
};

/**
 * The value of one whole MessagePack message, integers of 64 bits as `bigint`.
 *
 * @throws When it is not one whole value.
 */
export function decode(bytes: Uint8Array): unknown {
  try {
    return decodeNpm(bytes, INTEGERS);
  } catch (error) {
    if (!(error as Error).message.includes("__proto__")) throw error;
    return decodeNpm(bytes, WITH_PROTO);
  }
}
