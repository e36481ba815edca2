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

// npm's decode refuses a key `__proto__`. That of @std makes it the prototype of the object, so that
// it is no key of its own. With these options it becomes a symbol, which is none either.
const IGNORED_KEY = Symbol("__proto__") as unknown as string;
const PROTO_IGNORED = {
  ...INTEGERS,
  keyDecoder: {
    canBeCached: (byteLength: number) => byteLength === "__proto__".length,
    decode: (bytes: Uint8Array, offset: number, byteLength: number) => {
      const key = new TextDecoder().decode(bytes.subarray(offset, offset + byteLength));
      return key === "__proto__" ? IGNORED_KEY : key;
    },
  },
  mapKeyConverter: (key: unknown) => key as string,
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
    return decodeNpm(bytes, PROTO_IGNORED);
  }
}
