"""MessagePack under the name of Python's pickle, for the client and the server of the lab.

Put this file beside your client.py or server.py. Python looks for a module in the folder of the
program first and in its own library later, so `import pickle` finds this file. It needs Python 3.6
or later and nothing else.

    pickle.dumps(value)       the bytes of a value
    pickle.loads(data)        the value of the bytes that recv has brought
    pickle.dump(value, file)  the same, for a file such as sock.makefile("wb")
    pickle.load(file)         the same, for a file such as sock.makefile("rb")

A value is None, a bool, an int of up to 64 bits, a float, a str, bytes, a list, or a dict whose
keys are str. A tuple arrives as a list. Arguments of pickle, such as a protocol, do nothing.

Why not the real pickle: its bytes can name any function of Python, and `loads` calls it. Whoever
sends bytes to such a server can run what he likes on it. MessagePack has values only.

Python's own modules and installed packages use pickle, too (multiprocessing and shelve, for
example). They store Python objects, which MessagePack cannot, so they get the real one: see
_PickleModule at the end.
"""

import importlib.machinery as _machinery
import importlib.util as _import_util
import io as _io
import os as _os
import struct as _struct
import sys as _sys
import sysconfig as _sysconfig
import types as _types

# ------------------------------------------------------------------------------- the real pickle --


def _load_real_pickle():
    """Python's own pickle as a module of its own, from the folder where Python's os.py is."""
    spec = _machinery.PathFinder.find_spec("pickle", [_os.path.dirname(_os.__file__)])
    module = _import_util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_real_pickle = _load_real_pickle()

# Some editors (IDLE, for example) have loaded Python's own pickle before a program begins. Then
# `import pickle` does not find this file, and hasattr(pickle, "IS_MESSAGEPACK") is False.
IS_MESSAGEPACK = True

# The same names as in the real pickle, so that `except pickle.UnpicklingError` works everywhere.
PickleError = _real_pickle.PickleError
PicklingError = _real_pickle.PicklingError
UnpicklingError = _real_pickle.UnpicklingError
DEFAULT_PROTOCOL = _real_pickle.DEFAULT_PROTOCOL
HIGHEST_PROTOCOL = _real_pickle.HIGHEST_PROTOCOL

# The other numbers and bytes with a name, such as pickle.STOP: Python's pickletools looks at them.
for _name in vars(_real_pickle):
    if _name.isupper():
        globals()[_name] = getattr(_real_pickle, _name)

__all__ = [
    "DEFAULT_PROTOCOL",
    "HIGHEST_PROTOCOL",
    "PickleError",
    "Pickler",
    "PicklingError",
    "Unpickler",
    "UnpicklingError",
    "dump",
    "dumps",
    "load",
    "loads",
]


class EncodeError(PicklingError, TypeError):
    """MessagePack cannot hold this value."""


class DecodeError(UnpicklingError, ValueError):
    """The bytes are not one whole MessagePack value."""


# --------------------------------------------------------------------------- values into bytes --

_MAX_DEPTH = 64  # lists and dicts within each other, as in the lab's server

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
        return b"\xcb" + _struct.pack(">d", value)
    if isinstance(value, str):
        return _encode_str(value)
    if isinstance(value, (bytes, bytearray)):
        return _encode_number(len(value), _BYTES_LENGTHS) + bytes(value)
    if not isinstance(value, (list, tuple, dict)):
        raise EncodeError(_why_not(value))
    if depth == _MAX_DEPTH:
        raise EncodeError("lists and dicts are nested over %d deep" % _MAX_DEPTH)
    if isinstance(value, dict):
        return _encode_dict(value, depth)
    items = [_encode(item, depth + 1) for item in value]
    return _encode_length(len(items), 0x90, 15, _LIST_LENGTHS) + b"".join(items)


def _encode_number(number, formats):
    """The first byte and the number, in the first of these formats that has room for it."""
    for first, number_format in formats:
        try:
            return bytes([first]) + _struct.pack(number_format, number)
        except _struct.error:
            continue  # too large for this one
    raise EncodeError("%d is too large: MessagePack has numbers of up to 64 bits" % number)


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
    except UnicodeEncodeError:
        raise EncodeError("%a has half of a character, which UTF-8 cannot hold" % text) from None
    return _encode_length(len(data), 0xA0, 31, _STR_LENGTHS) + data


def _encode_dict(value, depth):
    pieces = [_encode_length(len(value), 0x80, 15, _DICT_LENGTHS)]
    for key, item in value.items():
        if not isinstance(key, str):
            raise EncodeError("the keys of a dict must be str, but %a is %s" % (key, _kind(key)))
        pieces.append(_encode_str(key))
        pieces.append(_encode(item, depth + 1))
    return b"".join(pieces)


def _kind(value):
    """What a value is, in words: "an int", "a dict"."""
    name = type(value).__name__
    if name in ("NoneType", "bytes"):
        return {"NoneType": "None", "bytes": "bytes"}[name]
    return ("an " if name[0] in "aeiouAEIOU" else "a ") + name


def _why_not(value):
    """Why this value cannot be sent, and what can be sent in its place."""
    if isinstance(value, (set, frozenset)):
        return "MessagePack has no set: send list(...) of it"
    if isinstance(value, complex):
        return "MessagePack has no complex numbers: send a list of two floats"
    if isinstance(value, type) or callable(value):
        return "%a cannot be sent: MessagePack has values only, no classes and functions" % value
    return (
        "%s cannot be sent: MessagePack has None, bool, int, float, str, bytes, list and dict. "
        "Put what the other end needs into a dict" % _kind(value)
    )


# --------------------------------------------------------------------------- bytes into values --

# The first byte of a value says what it is; these are the ones that stand for a value themselves,
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
# those behind which a number follows,
_NUMBERS = dict(_UNSIGNED + _SIGNED + [(0xCA, ">f"), (0xCB, ">d")])
# and those behind which a length and the content follow.
_WITH_LENGTH = {}
for _kind_of_value, _formats in (
    (str, _STR_LENGTHS),
    (bytes, _BYTES_LENGTHS),
    (list, _LIST_LENGTHS),
    (dict, _DICT_LENGTHS),
):
    for _first, _number_format in _formats:
        _WITH_LENGTH[_first] = (_kind_of_value, _number_format)

_PIECE = 65536  # bytes: a length may promise 4 GiB that never come

_CLOSED = (
    "no more bytes: the other end has closed the connection. For a client that is no fault if the "
    "server had acknowledged before, since a server closes when its client stays silent"
)


class _Reader:
    """Reads exactly as many bytes of a file as are asked for, in as many pieces as they come."""

    def __init__(self, file):
        if not hasattr(file, "read"):
            raise TypeError("load needs a file, not %s: sock.makefile('rb')" % _kind(file))
        self.file = file
        self.count = 0  # bytes that were read

    def read(self, length):
        pieces = []
        while length > 0:
            piece = self.file.read(min(length, _PIECE))
            if not isinstance(piece, bytes):
                raise TypeError("load needs a file of bytes: open(name, 'rb'), makefile('rb')")
            if len(piece) == 0:
                raise self.end()
            pieces.append(piece)
            length -= len(piece)
            self.count += len(piece)
        return b"".join(pieces)

    def end(self):
        """The exception for the end of the bytes: before a value or in the middle of one."""
        if self.count == 0:
            return EOFError(_CLOSED)
        words = "incomplete: the bytes end inside a value, after %d. One recv may bring a part only"
        return DecodeError(words % self.count)

    def read_number(self, number_format):
        return _struct.unpack(number_format, self.read(_struct.calcsize(number_format)))[0]


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
        raise DecodeError("lists and dicts are nested over %d deep" % _MAX_DEPTH)
    if kind is list:
        return [_decode(reader, depth + 1) for _ in range(length)]
    return _decode_dict(reader, length, depth)


def _decode_length(first, reader):
    """What the value is (str, bytes, list or dict), and how long."""
    if first <= 0x8F:
        return dict, first - 0x80
    if first <= 0x9F:
        return list, first - 0x90
    if first <= 0xBF:
        return str, first - 0xA0
    if first == 0xC1:
        raise DecodeError("this is not MessagePack, which never uses the byte c1")
    if first not in _WITH_LENGTH:
        raise DecodeError("a MessagePack extension type (byte %02x): the lab has none" % first)
    kind, number_format = _WITH_LENGTH[first]
    return kind, reader.read_number(number_format)


def _decode_str(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError("a text is not UTF-8: %s" % error) from None


def _decode_dict(reader, length, depth):
    result = {}
    for _ in range(length):
        key = _decode(reader, depth + 1)
        if not isinstance(key, str):
            raise DecodeError("the keys of a dict must be str, but %a is %s" % (key, _kind(key)))
        result[key] = _decode(reader, depth + 1)
    return result


# ------------------------------------------------------------------------ what a program calls --


def dumps(obj, *args, **options):
    """The bytes of one MessagePack value.

    Raises a PicklingError, which is a TypeError, too, if MessagePack cannot hold the value.
    """
    return _encode(obj)


def loads(data, *args, **options):
    """The value of these bytes, which must be one whole MessagePack value.

    Raises EOFError if there are no bytes, which is what recv returns when the other end has closed;
    an UnpicklingError, which is a ValueError, too, if they are anything but one whole value.
    """
    data = bytes(memoryview(data))
    reader = _Reader(_io.BytesIO(data))
    value = _decode(reader)
    if reader.count < len(data):
        raise DecodeError(_what_follows(data, value, reader.count))
    return value


def _what_follows(data, value, count):
    """What to say about bytes that follow the first value."""
    if data[0] == 0x80 and data[1] in (2, 3, 4, 5):
        return "this is the real pickle: the other end has no pickle.py of the lab beside it"
    return (
        "there is more behind the first value, which is %s. Bytes left: %d. All begins with %a. If "
        "several messages have come in one recv: pickle.load(sock.makefile('rb')) reads one a call"
        % (_kind(value), len(data) - count, data[:16])
    )


def dump(obj, file, *args, **options):
    """Writes one MessagePack value to a file. One of makefile("wb") sends it with flush()."""
    file.write(_encode(obj))


def load(file, *args, **options):
    """Reads one MessagePack value from a file, and leaves what follows for the next call.

    Raises EOFError at the end of the file, and an UnpicklingError as loads does.
    """
    return _decode(_Reader(file))


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


# ---------------------------------------------------------------------- who gets the real pickle --


def _library_folders():
    """The folders of Python's own modules and of installed packages."""
    folders = [_sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    if "deb_system" in _sysconfig.get_scheme_names():  # Debian and Ubuntu: what apt has installed
        folders.append(_sysconfig.get_path("purelib", "deb_system"))
    return {_comparable(folder) for folder in folders}


def _comparable(path):
    """A path without symbolic links and, on Windows, in lower case: one file has one such path."""
    return _os.path.normcase(_os.path.realpath(path))


def _is_in_library(filename, folders):
    """Whether a code file is in one of these folders or in a folder of theirs."""
    if not _os.path.isabs(filename):  # "<string>", "<stdin>", or a script: Python's own have all
        return False
    folder = _os.path.dirname(_comparable(filename))
    while folder not in folders:
        parent = _os.path.dirname(folder)
        if parent == folder:  # the root
            return False
        folder = parent
    return True


class _PickleModule(_types.ModuleType):
    """This module. It is the real pickle for Python's own modules, and MessagePack for all others.

    What counts is which code says `pickle.loads` or `from pickle import loads`, not which code
    calls it later: with `threading.Thread(target=pickle.loads)` it is the program's code that
    says it, and the library that calls it.

    The real one is for code that
    - is in the folders of Python's library or of installed packages,
    - has this name in it: it was not asked to look it up for somebody else, and
    - has `pickle` in it, or this module in its global names.
    """

    _folders = _library_folders()
    _known_files = {}  # name of a code file: whether it is in these folders

    def __getattribute__(self, name):
        frame = _sys._getframe(1)
        if name in frame.f_code.co_names and _PickleModule._uses_pickle(self, frame):
            return getattr(_real_pickle, name)
        return super().__getattribute__(name)

    def _uses_pickle(self, frame):
        """Whether this is code of the library which uses pickle itself."""
        filename = frame.f_code.co_filename
        known = _PickleModule._known_files
        if filename not in known:
            known[filename] = _is_in_library(filename, _PickleModule._folders)
        if not known[filename]:
            return False
        if "pickle" in frame.f_code.co_names:
            return True
        values = list(frame.f_globals.values())  # a list: another thread may add some meanwhile
        return any(value is self for value in values)


# When multiprocessing starts a new Python, it sends it functions by their names and reads these in
# code that says `pickle.load` itself. So our load goes by another name there.
_load = load
load.__qualname__ = "_load"


def _be_found_by_children():
    """Lets a Python that this program starts (multiprocessing on Windows) find this file, too."""
    folder = _os.path.dirname(_os.path.abspath(__file__))
    paths = _os.environ.get("PYTHONPATH", "").split(_os.pathsep)
    if folder not in paths:
        _os.environ["PYTHONPATH"] = _os.pathsep.join([folder] + [path for path in paths if path])


_be_found_by_children()
_sys.modules[__name__].__class__ = _PickleModule
