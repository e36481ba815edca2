/**
 * `encode` and `decode` of `@std/msgpack`, from `@msgpack/msgpack`. They differ where main.ts does
 * not look: this `decode` makes other characters of bytes that are not UTF-8 (main.ts refuses those
 * before), and refuses a key `__proto__`.
 */
import { Decoder, Encoder, type ExtensionCodecType } from "@msgpack/msgpack";

const INTEGERS = { useBigInt64: true };

/** `@std/msgpack` has no extension types. */
const NO_EXTENSIONS: ExtensionCodecType<undefined> = {
  tryToEncode: () => null,
  decode: () => {
    throw new Error("an extension type");
  },
};

// Its functions `encode` and `decode` make one of these at each call, which takes longer than the rest.
const encoder = new Encoder(INTEGERS);
const decoder = new Decoder({ ...INTEGERS, extensionCodec: NO_EXTENSIONS });

/** A MessagePack value as bytes; a `bigint` as an integer of 64 bits, other numbers as small as they go. */
export function encode(value: unknown): Uint8Array<ArrayBuffer> {
  if (typeof value === "object") Object.values(value ?? {}).forEach(checkSize);
  return encoder.encode(value);
}

/** Refuses what `@std/msgpack` refuses: this `encode` would leave bits out. */
function checkSize(value: unknown): void {
  if (typeof value !== "bigint") return;
  if (value < -(2n ** 63n) || value >= 2n ** 64n) {
    throw new Error("Cannot safely encode bigint larger than 64 bits");
  }
}

/**
 * The value of one whole MessagePack message, integers of 64 bits as `bigint`.
 *
 * @throws When it is not one whole value, or has an extension type.
 */
export function decode(bytes: Uint8Array): unknown {
  return decoder.decode(bytes);
}
