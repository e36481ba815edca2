"""The client of lab 2: it connects, is greeted, sends who you are, and is acknowledged.

    python3 client.py
    python3 client.py "Alice Brown" abrown 123456789
    python3 client.py --host 192.168.1.7 --port 12001 "Alice Brown" abrown 123456789

(On Windows `py` in the place of `python3`.) It asks for what is not given. The exit status is 0
when the server has acknowledged, 1 when something went wrong, and 2 when the command is wrong:
standard error says what.
"""

import argparse
import select
import socket
import sys

# An editor or a debugger may have loaded Python's own pickle already: it makes room for the lab's.
sys.modules.pop("pickle", None)
import pickle  # this is the file pickle.py beside this one: it speaks MessagePack

if not hasattr(pickle, "IS_MESSAGEPACK"):
    sys.exit(
        "This is Python's own pickle: the lab's pickle.py is not beside client.py, or this Python "
        "does not look there (python3 -I, PYTHONSAFEPATH)"
    )

from clienthelper import ClientHelper, LabError, fault_of_words

HOST = "127.0.0.1"
PORT = 12000


class Client:
    """A TCP client: it connects to a server, and sends and receives values."""

    def __init__(self):
        """There is no socket yet."""
        self.socket = None
        self.reader = None
        self.helper = ClientHelper(self)

    def connect(self, host, port):
        """Makes the socket and connects it. Raises a LabError if nobody answers there."""
        place = "%s/%d" % (host, port)
        advice = "start it first, or say with --host and --port where it is"
        try:
            # A name may have addresses of IPv4 and of IPv6: this tries one after the other.
            self.socket = socket.create_connection((host, port))
        except (socket.gaierror, UnicodeError):
            raise LabError("There is no machine called %s: say where with --host" % host) from None
        except ConnectionRefusedError:
            raise LabError("No server at %s: %s" % (place, advice)) from None
        except OSError as error:
            raise LabError("No server at %s (%s): %s" % (place, error.strerror, advice)) from None
        self.reader = self.socket.makefile("rb")  # reads of it are reads of the socket

    def send(self, value):
        """Sends one value. sendall goes on until all of its bytes are on their way."""
        try:
            data = pickle.dumps(value)
        except pickle.PicklingError as error:
            raise LabError("This cannot be sent: %s" % error) from None
        self.socket.sendall(data)

    def receive(self):
        """Waits for one value and returns it. Raises a ValueError if the bytes are no value.

        TCP is a stream of bytes: one recv may bring a part of a value, or two values. load reads
        on until one value is whole, and leaves the rest for the next call.
        """
        return pickle.load(self.reader)

    def is_quiet(self, seconds):
        """Waits until the server has sent something; returns True if it has not in this time."""
        readable, _, _ = select.select([self.socket], [], [], seconds)
        return not readable

    def limit(self, seconds):
        """From now on, raises socket.timeout when the server is silent for longer than this."""
        self.socket.settimeout(seconds)

    def close(self):
        """Closes the connection, if there is one."""
        if self.socket is not None:
            self.reader.close()
            self.socket.close()


def host_name(text):
    """The machine that is meant by this text. %a shows what cannot be seen, too."""
    is_name = text != "" and text.isprintable() and not set(text) & set(" /@")
    if not is_name or text.count(":") == 1:
        words = "must be a name or an address, and the port stands behind --port, not %a"
        raise argparse.ArgumentTypeError(words % text[:40])
    return text


def port_number(text):
    """The port that is meant by this text."""
    if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("must be a number from 1 to 65535, not %a" % text[:40])
    return int(text)


def parse_arguments():
    """What stands behind the name of this program on the command line."""
    parser = argparse.ArgumentParser(
        description="The lab's client. It asks for what is not given.",
        usage='client.py [--host HOST] [--port PORT] ["Alice Brown" abrown 123456789]',
    )
    parser.add_argument("--host", type=host_name, default=HOST, help="the server's (%(default)s)")
    parser.add_argument("--port", type=port_number, default=PORT, help="its port (%(default)s)")
    words = "your name in quotes, your user name on GitHub, your student id"
    parser.add_argument("words", nargs="*", help=words)
    arguments = parser.parse_args()
    fault = fault_of_words(arguments.words)
    if fault:
        parser.error(fault)
    return arguments


def main():
    """Runs the client; returns the exit status."""
    arguments = parse_arguments()
    client = Client()
    try:
        # The server waits for a request for some seconds only, so ask before we connect.
        student = client.helper.ask_for_student(*arguments.words)
        client.connect(arguments.host, arguments.port)
        client.helper.run(student, arguments.host, arguments.port)
        return 0
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 1
    finally:
        # We close as soon as we are acknowledged. A client that waits for more keeps the next
        # student waiting, until the server has had enough of the silence.
        client.close()


if __name__ == "__main__":
    sys.exit(main())
