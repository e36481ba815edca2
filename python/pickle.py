"""Python's pickle with MessagePack on the wire, for a lab-2 client or server as it is:

    PYTHONPATH=python python3 ../mine/client.py

Python looks for modules in the folder of the script, then in those of PYTHONPATH, and only then
in its own library. So `import pickle` finds this file. It runs the real pickle.py in its own name
space, which keeps every name that other modules need, and then puts MessagePack in the place of
`dumps` and `loads`. Modules of Python's library and installed packages (multiprocessing, say)
still get the real ones: they store Python objects, and MessagePack has none.
"""

import importlib.machinery as _machinery
import os as _os
import sys as _sys

_LIBRARY = _os.path.dirname(_os.__file__)
_machinery.PathFinder.find_spec("pickle", [_LIBRARY]).loader.exec_module(_sys.modules[__name__])
_real_dumps, _real_loads = dumps, loads  # noqa: F821 - they came with the line above

try:
    import msgpack as _msgpack
except ImportError:
    _msgpack = None


class NotOneValue(UnpicklingError, ValueError):  # noqa: F821 - so a handler for either catches it
    """The bytes are not one whole MessagePack value."""


def _wants_real_pickle():
    """Whether dumps or loads was called from Python's library or an installed package."""
    caller = _sys._getframe(2).f_code.co_filename
    return caller.startswith(_LIBRARY) or "site-packages" in caller or "dist-packages" in caller


def _need_msgpack():
    if _msgpack is None:
        _sys.exit(
            f"Python's msgpack is missing: {_sys.executable} -m pip install msgpack; where pip "
            "refuses (Debian, Ubuntu): sudo apt install python3-msgpack, then run /usr/bin/python3"
        )


def dumps(obj, *args, **options):
    """The bytes of one MessagePack value. Arguments of pickle, such as a protocol, do nothing."""
    if _wants_real_pickle():
        return _real_dumps(obj, *args, **options)
    _need_msgpack()
    return _msgpack.packb(obj)


def loads(data, /, **options):
    """The value of one whole MessagePack value. Arguments of pickle do nothing.

    Raises EOFError when there are no bytes, which is what recv gives when the other end has closed;
    NotOneValue when they are not one whole value.
    """
    if _wants_real_pickle():
        return _real_loads(data, **options)
    _need_msgpack()
    if len(data) == 0:
        raise EOFError("no bytes to load: has the other end closed the connection?")
    try:
        return _msgpack.unpackb(data, strict_map_key=False)
    except Exception as error:  # its FormatError, for example, has no text
        raise NotOneValue(str(error) or "this is not MessagePack") from None
