"""The client of lab 2: it connects, is greeted, sends who you are, and is acknowledged.

    python3 client.py
    python3 client.py "Alice Brown" abrown 123456789
    python3 client.py --host 192.168.1.7 --port 12001 "Alice Brown" abrown 123456789

(On Windows `py` in the place of `python3`.) It asks for what is not given. The exit status is 0
when the server has acknowledged, and 1 when something went wrong: standard error says what.
"""

import argparse
import pickle  # this is the file pickle.py beside this one: it speaks MessagePack
import select
import socket
import sys

from clienthelper import ClientHelper, LabError, check_pickle

HOST = "127.0.0.1"
PORT = 12000


class Client:
    """A TCP client: it connects to a server, and sends and receives values."""

    def __init__(self):
        """Makes the socket. AF_INET is IPv4, SOCK_STREAM is TCP."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.reader = self.socket.makefile("rb")  # reads of it are reads of the socket
        self.helper = ClientHelper(self)

    def connect(self, host, port):
        """Connects to the server. Raises a LabError if nobody answers there."""
        try:
            self.socket.connect((host, port))
        except socket.gaierror:
            raise LabError("There is no machine called %s: say where with --host" % host) from None
        except ConnectionRefusedError:
            advice = "start it first, or say with --host and --port where it is"
            raise LabError("No server at %s/%d: %s" % (host, port, advice)) from None
        except OSError as error:
            raise LabError("No connection to %s/%d: %s" % (host, port, error)) from None

    def send(self, value):
        """Sends one value. sendall goes on until all of its bytes are on their way."""
        self.socket.sendall(pickle.dumps(value))

    def receive(self):
        """Waits for one value and returns it.

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
        """Closes the connection."""
        self.reader.close()
        self.socket.close()


def port_number(text):
    """The port that is meant by this text."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("must be a number from 1 to 65535, not %s" % text)
    return int(text)


def parse_arguments():
    """What stands behind the name of this program on the command line."""
    parser = argparse.ArgumentParser(description="The lab's client. It asks for what is not given.")
    parser.add_argument("--host", default=HOST, help="where the server runs (%(default)s)")
    parser.add_argument("--port", type=port_number, default=PORT, help="its port (%(default)s)")
    parser.add_argument("student_name", nargs="?", help='your name in quotes: "Alice Brown"')
    parser.add_argument("github_username", nargs="?", help="your user name on GitHub")
    parser.add_argument("sid", nargs="?", help="your student id")
    return parser.parse_args()


def main():
    """Runs the client; returns the exit status."""
    arguments = parse_arguments()
    client = Client()
    try:
        check_pickle()
        # The server waits for a request for some seconds only, so ask before we connect.
        student = client.helper.ask_for_student(
            arguments.student_name, arguments.github_username, arguments.sid
        )
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
