/** `encode` and `decode` of `@std/msgpack`, from `@msgpack/msgpack`, made equal where they differ. */
import {
  decode as decodeNpm,
  DecodeError,
  encode as encodeNpm,
  ExtensionCodec,
} from "@msgpack/msgpack";

/** `@std/msgpack` knows no extension types. */
class NoExtensions extends ExtensionCodec {
  /** Refuses every extension, the timestamp too. */
  override decode(): never {
    throw new DecodeError("extension types are not supported");
  }
}

const options = { useBigInt64: true, extensionCodec: new NoExtensions() };
const PROTO = new TextEncoder().encode("__proto__");

/** A MessagePack value as bytes; a `bigint` as an integer of 64 bits, other numbers as small as they go. */
export function encode(value: unknown): Uint8Array<ArrayBuffer> {
  return encodeNpm(value, { useBigInt64: true });
}

/**
 * The value of one whole MessagePack message, integers of 64 bits as `bigint`.
 *
 * @throws When it is not one whole value, or has extension types or other map keys than strings and numbers.
 */
export function decode(bytes: Uint8Array): unknown {
  try {
    return decodeNpm(bytes, options);
  } catch (error) {
    // A key "__proto__" is refused here, but in @std/msgpack it is a key like others that are no field.
    if (!(error instanceof DecodeError && error.message.includes("__proto__"))) throw error;
    return decodeNpm(renameProto(bytes), options);
  }
}

/** The same, with "-_proto__" wherever a whole string is "__proto__", a key or not. */
function renameProto(bytes: Uint8Array): Uint8Array {
  const renamed = bytes.slice();
  for (let i = 1; i + PROTO.length <= renamed.length; i++) {
    const isWhole = renamed[i - 1] === 0xa0 + PROTO.length || renamed[i - 1] === PROTO.length;
    if (isWhole && PROTO.every((byte, j) => renamed[i + j] === byte)) renamed[i] = 0x2d;
  }
  return renamed;
}
