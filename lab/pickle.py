"""MessagePack under the name of Python's pickle, for the client and the server of the lab.

Put this file beside your client.py or server.py. Python looks for a module in the folder of the
program first and in its own library later, so `import pickle` finds this file. It needs Python 3.6
or later and nothing else.

    pickle.dumps(value)       the bytes of a value
    pickle.loads(data)        the value of the bytes that recv has brought
    pickle.dump(value, file)  the same, for a file such as sock.makefile("wb")
    pickle.load(file)         the same, for a file such as sock.makefile("rb")

A value is None, a bool, an int of up to 64 bits, a float, a str, bytes, a list, or a dict whose
keys are str, and has at most 512 KiB. A tuple arrives as a list. Arguments of pickle, such as a
protocol, do nothing.

Why not the real pickle: its bytes can name any function of Python, and `loads` calls it. Whoever
sends bytes to such a server can run what he likes on it. MessagePack has values only.

Why an error may come although your program has not called dumps: each module of this program that
asks for pickle finds this file, Python's own modules and installed packages, too. That is on
purpose: one of them that had the real pickle could read the bytes of a stranger with it. With
values as above they work, a Queue of multiprocessing for example. They cannot send or store
anything else: functions and objects for other processes (Pool, joblib, and on Windows and macOS
each Process), tables of pandas. Run a program that needs this in a folder without this file.
"""

import io
import struct

# Whether `import pickle` has found this file or Python's own: hasattr(pickle, "IS_MESSAGEPACK").
IS_MESSAGEPACK = True

DEFAULT_PROTOCOL = 4
HIGHEST_PROTOCOL = 5

__all__ = ["DEFAULT_PROTOCOL", "HIGHEST_PROTOCOL", "PickleError", "PicklingError"]
__all__ += ["UnpicklingError", "Pickler", "Unpickler", "dump", "dumps", "load", "loads"]


class PickleError(Exception):
    """A value cannot be sent, or bytes cannot be read."""


class PicklingError(PickleError):
    """A value cannot be sent."""


class UnpicklingError(PickleError):
    """Bytes cannot be read."""


class EncodeError(PicklingError, TypeError):
    """MessagePack cannot hold this value."""


class DecodeError(UnpicklingError, ValueError):
    """The bytes are not one whole MessagePack value."""


_MAX_BYTES = 512 * 1024  # of one value, which may take 260 times as much memory
_MAX_DEPTH = 64  # lists and dicts within each other

_TOO_LONG = "a value has over %d bytes, which is the most here" % _MAX_BYTES
_TOO_DEEP = "lists and dicts are nested over %d deep" % _MAX_DEPTH

# --------------------------------------------------------------------------- values into bytes --

# For each kind of value: (first byte, struct format of the number behind it), the shortest first.
_UNSIGNED = [(0xCC, ">B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q")]
_SIGNED = [(0xD0, ">b"), (0xD1, ">h"), (0xD2, ">i"), (0xD3, ">q")]
_STR_LENGTHS = [(0xD9, ">B"), (0xDA, ">H"), (0xDB, ">I")]
_BYTES_LENGTHS = [(0xC4, ">B"), (0xC5, ">H"), (0xC6, ">I")]
_LIST_LENGTHS = [(0xDC, ">H"), (0xDD, ">I")]
_DICT_LENGTHS = [(0xDE, ">H"), (0xDF, ">I")]


def _encode(value, depth=0):
    """The bytes of a value that is inside `depth` lists and dicts."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):  # before int: a bool is an int, too
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _encode_int(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        return _encode_str(value)
    if isinstance(value, (bytes, bytearray)):
        return _encode_number(len(value), _BYTES_LENGTHS) + bytes(value)
    if not isinstance(value, (list, tuple, dict)):
        raise EncodeError(_why_not(value))
    if depth == _MAX_DEPTH:
        raise EncodeError(_TOO_DEEP)
    if isinstance(value, dict):
        return _encode_dict(value, depth)
    items = [_encode(item, depth + 1) for item in value]
    return _encode_length(len(items), 0x90, 15, _LIST_LENGTHS) + b"".join(items)


def _encode_number(number, formats):
    """The first byte and the number, in the first of these formats that has room for it."""
    for first, number_format in formats:
        try:
            return bytes([first]) + struct.pack(number_format, number)
        except struct.error:
            continue  # too large for this one
    raise EncodeError("an int is too large: MessagePack has ints of up to 64 bits")


def _encode_length(length, first, most_in_first, formats):
    """A length: short ones are a part of the first byte."""
    if length <= most_in_first:
        return bytes([first + length])
    return _encode_number(length, formats)


def _encode_int(number):
    if 0 <= number <= 0x7F:
        return bytes([number])
    if -32 <= number < 0:
        return bytes([256 + number])
    return _encode_number(number, _UNSIGNED if number > 0 else _SIGNED)


def _encode_str(text):
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise EncodeError("a text has half of a character, %a: UTF-8 has none" % half) from None
    return _encode_length(len(data), 0xA0, 31, _STR_LENGTHS) + data


def _encode_dict(value, depth):
    pieces = [_encode_length(len(value), 0x80, 15, _DICT_LENGTHS)]
    for key, item in value.items():
        if not isinstance(key, str):
            raise EncodeError(_NOT_STR % _kind(key))
        pieces.append(_encode_str(key))
        pieces.append(_encode(item, depth + 1))
    return b"".join(pieces)


_NOT_STR = "the keys of a dict must be str, but one is %s"


def _kind(value):
    """What a value is, in words: "an int", "a dict"."""
    if value is None:
        return "None"
    if isinstance(value, bytes):
        return "bytes"
    name = type(value).__name__[:40]
    return ("an " if name[:1] in "aeiouAEIOU" else "a ") + name


def _why_not(value):
    """Why this value cannot be sent, and what can be sent in its place."""
    if isinstance(value, (set, frozenset)):
        return "MessagePack has no set: send list(...) of it"
    if isinstance(value, complex):
        return "MessagePack has no complex numbers: send a list of two floats"
    if callable(value):  # a class can be called, too
        name = getattr(value, "__name__", _kind(value))
        words = "%.40s cannot be sent: MessagePack has values only, no classes and functions"
        return words % name + _WHO_CALLED
    words = "%s cannot be sent: MessagePack has None, bool, int, float, str, bytes, list and dict"
    return words % _kind(value) + ". Put what the other end needs into a dict" + _WHO_CALLED


_WHO_CALLED = " (if it was not your program that called dumps: the head of pickle.py says why)"

# --------------------------------------------------------------------------- bytes into values --

# The first byte of a value says what it is; these are the ones that stand for a value themselves,
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
# those behind which a number follows,
_NUMBERS = dict(_UNSIGNED + _SIGNED + [(0xCA, ">f"), (0xCB, ">d")])
# and those behind which a length and the content follow.
_LENGTHS = {
    str: dict(_STR_LENGTHS),
    bytes: dict(_BYTES_LENGTHS),
    list: dict(_LIST_LENGTHS),
    dict: dict(_DICT_LENGTHS),
}

_CLOSED = (
    "no more bytes: the other end has closed the connection. For a client that is no fault if the "
    "server had acknowledged before, since a server closes when its client stays silent"
)

_REAL_PICKLE = "this is the real pickle: what wrote it had no pickle.py of the lab beside it"


class _Reader:
    """Reads exactly as many bytes of a file as are asked for, in as many pieces as they come."""

    def __init__(self, file):
        if not hasattr(file, "read"):
            raise TypeError("load needs a file, not %s: sock.makefile('rb')" % _kind(file))
        self.file = file
        self.count = 0  # bytes that were read

    def read(self, length):
        self.expect(length)
        pieces = []
        while length > 0:
            piece = self.file.read(length)
            if not isinstance(piece, bytes):
                raise TypeError("load needs a file of bytes: open(name, 'rb'), makefile('rb')")
            if len(piece) == 0:
                raise self.end()
            pieces.append(piece)
            length -= len(piece)
            self.count += len(piece)
        return b"".join(pieces)

    def expect(self, length):
        """Refuses so many more bytes if the value would be too long with them."""
        if self.count + length > _MAX_BYTES:
            raise DecodeError(_TOO_LONG)

    def end(self):
        """The exception for the end of the bytes: before a value or in the middle of one."""
        if self.count == 0:
            return EOFError(_CLOSED)
        words = "incomplete: the bytes end inside a value, after %d. One recv may bring a part only"
        return DecodeError(words % self.count)

    def is_in_real_pickle(self):
        """Whether what follows is a real pickle's, in a file that lets us look: no socket does."""
        if not hasattr(self.file, "seekable") or not self.file.seekable():
            return False
        following = self.file.read(2)
        self.file.seek(-len(following), io.SEEK_CUR)
        return following in (b"\x04\x95", b"\x05\x95")

    def read_number(self, number_format):
        return struct.unpack(number_format, self.read(struct.calcsize(number_format)))[0]


def _decode(reader, depth=0):
    """The next value, which is inside `depth` lists and dicts."""
    first = reader.read(1)[0]
    if first <= 0x7F:
        return first
    if first >= 0xE0:
        return first - 256
    if first in _CONSTANTS:
        return _CONSTANTS[first]
    if first in _NUMBERS:
        return reader.read_number(_NUMBERS[first])
    kind, length = _decode_length(first, reader)
    if kind is bytes:
        return reader.read(length)
    if kind is str:
        return _decode_str(reader.read(length))
    if depth == _MAX_DEPTH:
        raise DecodeError(_TOO_DEEP)
    if kind is dict:
        return _decode_dict(reader, length, depth)
    reader.expect(length)  # an item has a byte at least
    return [_decode(reader, depth + 1) for _ in range(length)]


def _decode_length(first, reader):
    """What the value is (str, bytes, list or dict), and how long."""
    if first <= 0x8F:
        return dict, first - 0x80
    if first <= 0x9F:
        return list, first - 0x90
    if first <= 0xBF:
        return str, first - 0xA0
    for kind, formats in _LENGTHS.items():
        if first in formats:
            return kind, reader.read_number(formats[first])
    if first == 0xC1:
        raise DecodeError("this is not MessagePack, which never uses the byte c1")
    raise DecodeError("a MessagePack extension type (byte %02x): the lab has none" % first)


def _decode_str(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError("a text is not UTF-8: %s" % error) from None


def _decode_dict(reader, length, depth):
    reader.expect(2 * length)  # a key and an item have a byte each at least
    result = {}
    for _ in range(length):
        key = _decode(reader, depth + 1)
        if not isinstance(key, str):
            raise DecodeError(_NOT_STR % _kind(key))
        result[key] = _decode(reader, depth + 1)
    return result


# ------------------------------------------------------------------------ what a program calls --


def dumps(obj, *args, **options):
    """The bytes of one MessagePack value.

    Raises a PicklingError, which is a TypeError, too, if MessagePack cannot hold the value.
    """
    data = _encode(obj)
    if len(data) > _MAX_BYTES:
        raise EncodeError(_TOO_LONG)
    return data


def loads(data, *args, **options):
    """The value of these bytes, which must be one whole MessagePack value.

    Raises EOFError if there are no bytes, which is what recv returns when the other end has closed;
    an UnpicklingError, which is a ValueError, too, if they are anything but one whole value.
    """
    if isinstance(data, str):
        raise TypeError("loads needs the bytes that recv brings, not a str: leave out decode()")
    data = bytes(memoryview(data))
    reader = _Reader(io.BytesIO(data))
    value = _decode(reader)
    if reader.count < len(data):
        raise DecodeError(_what_follows(data, value, reader.count))
    return value


def _what_follows(data, value, count):
    """What to say about bytes that follow the first value."""
    if data[0] == 0x80 and data[1] in (2, 3, 4, 5):
        return _REAL_PICKLE
    return (
        "there is more behind the first value, which is %s. Bytes left: %d. All begins with %a. If "
        "several messages have come in one recv: pickle.load(sock.makefile('rb')) reads one a call"
        % (_kind(value), len(data) - count, data[:16])
    )


def dump(obj, file, *args, **options):
    """Writes one MessagePack value to a file. One of makefile("wb") sends it with flush()."""
    file.write(dumps(obj))


def load(file, *args, **options):
    """Reads one MessagePack value from a file, and leaves what follows for the next call.

    Raises EOFError at the end of the file, and an UnpicklingError as loads does.
    """
    reader = _Reader(file)
    value = _decode(reader)
    if value == {} and reader.is_in_real_pickle():
        raise DecodeError(_REAL_PICKLE)
    return value


class Pickler:
    """Writes MessagePack values to a file: Pickler(file).dump(value)."""

    def __init__(self, file, *args, **options):
        self.file = file

    def dump(self, obj):
        """Writes one value."""
        dump(obj, self.file)


class Unpickler:
    """Reads MessagePack values from a file: Unpickler(file).load()."""

    def __init__(self, file, *args, **options):
        self.file = file

    def load(self):
        """Reads one value."""
        return load(self.file)


def whichmodule(*args):
    """joblib imports this name. MessagePack has no objects, so there is nothing to find."""
    raise PicklingError("MessagePack has values only, no classes and functions" + _WHO_CALLED)


# More names that pandas and joblib look for while they are imported.
_getattribute = whichmodule
_Pickler = Pickler
_Unpickler = Unpickler
Pickler.dispatch = {}
Unpickler.dispatch = {}
BUILD, REDUCE, NEWOBJ, NEWOBJ_EX = b"b", b"R", b"\x81", b"\x92"
