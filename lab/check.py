"""Checks a server of the lab: good clients visit it, then bad ones, and it says what they saw.

    python3 check.py --host 127.0.0.1 --port 12000    (these are the defaults)

Start the server first. The exit status is 0 if it does what the lab asks for, as clients see it.
"""

import argparse
import io
import socket
import struct
import sys
import textwrap
from contextlib import suppress

# An editor or a debugger may have loaded Python's own pickle already: it makes room for the lab's.
sys.modules.pop("pickle", None)
import pickle  # this is the file pickle.py beside this one: it speaks MessagePack

if not hasattr(pickle, "IS_MESSAGEPACK"):
    sys.exit(
        "This is Python's own pickle: the lab's pickle.py is not beside check.py, or this Python "
        "does not look there (python3 -I, PYTHONSAFEPATH)"
    )

ANSWER_SECONDS = 2  # for what a good client waits for
SHORT_SECONDS = 0.3  # for what must not come, and for a server to close after its client
QUIET_SECONDS = 0.05  # what comes within this time belongs together

ALICE = {"student_name": "Alice Brown", "github_username": "abrown", "sid": 123456789}
REQUEST = pickle.dumps(ALICE)
HALVES = [REQUEST[:20], REQUEST[20:]]
WITHOUT_SID = pickle.dumps({"student_name": "Mallory Grey", "github_username": "mgrey"})
GARBAGE = b"\xc1\xff\x00\xc1"  # no value of MessagePack has the byte c1
RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # close does not wait


class Miss(Exception):
    """What was seen in the place of what is expected."""


class NotServed(Miss):
    """A good client was not served, so the checks that follow could say nothing."""


class Client:
    """A connection to the server."""

    def __init__(self, address, who="the client"):
        """Connects. Raises NotServed if that is not possible."""
        self.who = who
        try:
            self.socket = socket.create_connection(address, ANSWER_SECONDS)
        except (OSError, UnicodeError) as error:
            raise NotServed("%s has no connection: %s" % (who, error)) from None

    def wait_for(self, what, request=b"", seconds=ANSWER_SECONDS):
        """Sends a request; returns the bytes that come. Raises NotServed if none come in time."""
        data = b""
        reason = "the server has closed the connection"
        self.socket.settimeout(seconds)
        try:
            self.socket.sendall(request)
            data = self.socket.recv(65536)
            self.socket.settimeout(QUIET_SECONDS)
            data += self.socket.recv(65536)
        except socket.timeout:
            reason = "nothing came within %s s" % seconds
        except OSError as error:
            reason = "the connection broke (%s)" % error.strerror
        if data == b"":
            raise NotServed("%s has no %s: %s" % (self.who, what, reason))
        return data

    def take(self, request=b"", seconds=SHORT_SECONDS):
        """The same where it may well be that nothing comes."""
        with suppress(NotServed):
            return self.wait_for("answer", request, seconds)
        return b""

    def leave(self):
        """Closes first, as a good client does, and gives the server time to close, too."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        self.take()
        self.socket.close()


def read(data):
    """The first value of these bytes, or None if there is none; and words for all of them."""
    value = None
    if data == b"":
        return value, "nothing"
    try:
        value = pickle.load(io.BytesIO(data))
        pickle.loads(data)
        return value, "%.200a (%s)" % (value, type(value).__name__)
    except (EOFError, pickle.UnpicklingError) as error:
        return value, "%a: %s" % (data[:40], error)


class Checker:
    """The checks. The text of each says what is done and expected, and what to change if missed."""

    def __init__(self, address):
        """Keeps where the server is: a pair of host and port."""
        self.address = address

    def greeted(self, who="the client"):
        """A client that has its greeting."""
        client = Client(self.address, who)
        client.wait_for("greeting")
        return client

    def serve_next(self):
        """A good client, from its greeting to its end."""
        client = self.greeted("the next client")
        client.wait_for("answer to its request", REQUEST)
        client.leave()

    def visit(self, *pieces):
        """A client that sends these pieces and leaves. Returns what has come after each of them."""
        client = self.greeted()
        came = [client.take(piece) for piece in pieces]
        client.leave()
        return came

    def listens(self):
        """A client connects. Expected: it is accepted. Change: start server.py first, in another
        terminal, and read what it says there. It has to listen at 127.0.0.1, port 12000."""
        self.first = Client(self.address)

    def greets(self):
        """The client waits. Expected: {"clientid": its port}. Change: after accept, and before
        receive, conn.sendall(pickle.dumps({"clientid": address[1]})). It waits for that."""
        greeting, words = read(self.first.wait_for("greeting"))
        port = self.first.socket.getsockname()[1]
        if not isinstance(greeting, dict) or greeting.get("clientid") != port:
            raise Miss("%s; the port of this client is %d" % (words, port))

    def acknowledges(self):
        """The client sends a request. Expected: the int 1, once. Change: one recv brings a request.
        Print its line, then conn.sendall(pickle.dumps(1)). Do not wait for b"" before that."""
        self.answer = self.first.wait_for("answer to its request", REQUEST)
        answers = self.answer + self.first.take(seconds=4 * SHORT_SECONDS)
        if read(answers)[1] != "1 (int)":
            raise Miss("%s, in the bytes %a" % (read(answers)[1], answers[:40]))

    def serves_the_next(self):
        """The client leaves, another one comes. Expected: it is served, too. Change: put accept and
        the rest into `while True`. When recv brings b"", leave its loop, close conn, accept."""
        self.first.leave()
        self.serve_next()

    def one_at_a_time(self):
        """A client comes while another one is served. Expected: it gets nothing yet. Change: serve
        one client from accept to close, then accept the next one, without a thread for each."""
        self.first, self.second = self.greeted(), Client(self.address, "the client that waits")
        self.early = self.second.take()
        self.first.wait_for("answer to its request", REQUEST)
        if self.early:
            raise Miss("it gets %s, while the first one is served" % read(self.early)[1])

    def two_at_once(self):
        """The first of these two leaves. Expected: the one that waits is served. Change: call
        self.socket.listen(BACKLOG) once, before the loop. Close conn, and never self.socket."""
        self.first.leave()
        if not self.early:
            self.second.wait_for("greeting")
        self.second.wait_for("answer to its request", REQUEST)
        self.second.leave()

    def leaves_at_once(self):
        """A client leaves without a word. Expected: the next one is served. Change: here recv
        brings b"", and pickle.loads(b"") raises an EOFError. Let receive return None for b""."""
        self.visit()

    def missing_key(self):
        """A client sends a dict without sid. Expected: no 1 for it; the next one is served. Change:
        here student["sid"] (not get) raises a KeyError. In the loop around accept, put a try around
        serve_client: README.md, "What clients do wrong". Print before you send 1."""
        [answer] = self.visit(WITHOUT_SID)
        value, good = read(answer)[0], read(self.answer)[0]
        is_alike = isinstance(value, dict) and isinstance(good, dict) and set(value) <= set(good)
        if is_alike or answer in (self.answer, pickle.dumps(1)):
            raise Miss("it is acknowledged with %s" % read(answer)[1])

    def leaves_in_the_middle(self):
        """A client sends half a request and leaves. Expected: the next one is served. Change: here
        pickle.loads raises an exception. Catch it in the same try."""
        self.visit(HALVES[0])

    def garbage(self):
        """A client sends what is no MessagePack. Expected: the next one is served. Change: here
        pickle.loads raises an exception. Catch it in the same try."""
        self.visit(GARBAGE)

    def resets(self):
        """A client breaks the connection. Expected: the next one is served. Change: here recv or
        sendall raises an OSError. Catch it in the same try. A sendall in except may raise again."""
        client = self.greeted()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.socket.close()

    def two_pieces(self):
        """A request comes in two pieces. Expected: one answer, when it is whole. Change: one recv
        may bring a part of a request: README.md, "Beyond the lab"."""
        came = self.visit(*HALVES)
        if read(came[0])[0] is not None or b"".join(came) != self.answer:
            raise Miss("after them came %s, and %s" % (read(came[0])[1], read(came[1])[1]))

    def two_in_one(self):
        """Two requests come in one piece. Expected: two answers. Change: one recv may bring two
        requests: README.md, "Beyond the lab"."""
        [came] = self.visit(REQUEST * 2)
        if came != self.answer * 2:
            raise Miss("%s came" % read(came)[1])


GOOD = [Checker.listens, Checker.greets, Checker.acknowledges, Checker.serves_the_next]
GOOD += [Checker.one_at_a_time, Checker.two_at_once]
BAD = [Checker.leaves_at_once, Checker.missing_key, Checker.leaves_in_the_middle]
BAD += [Checker.garbage, Checker.resets]
BEYOND = [Checker.two_pieces, Checker.two_in_one]

STOPPED = """Stopped here: a good client was not served. Look into the server's window: its last
line says more, if it has failed. Change it, start it again, and then check.py."""
WINDOW = """Now look into the server's window, which check.py cannot see. There must be once
  Listening at %s/%d
and nine times or more
  Connected: Student: Alice Brown, Github Username: abrown, sid: 123456789
and words on four bad clients, and on no good one: no sid, half a request, what is no
MessagePack, a broken connection. There must be no such line for Mallory Grey (no sid)."""


def tell(mark, words):
    """Prints a paragraph behind its mark."""
    text = " ".join(words.split())
    print(textwrap.fill(text, 80, initial_indent="%-6s" % mark, subsequent_indent=" " * 6))


def run(checker):
    """Makes the checks until a good client is not served; returns the exit status."""
    status = 0
    for check in GOOD + BAD + BEYOND:
        text, change = check.__doc__.split("Change:")
        text = "%s: %s" % (check.__name__.replace("_", " "), text)
        try:
            check(checker)
            if check in BAD:
                checker.serve_next()
            tell("ok", text)
        except Miss as miss:
            tell("open" if check in BEYOND else "MISS", text)
            tell("", "Seen: %s." % miss)
            tell("", "Change: " + change)
            status = status if check in BEYOND else 1
            if isinstance(miss, NotServed):
                print(STOPPED)
                return status
    print(WINDOW % checker.address)
    return status


def main():
    """Reads the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Checks a server of the lab that runs already.")
    parser.add_argument("--host", default="127.0.0.1", help="where it runs (%(default)s)")
    parser.add_argument("--port", type=int, default=12000, help="its port (%(default)s)")
    arguments = parser.parse_args()
    if not 1 <= arguments.port <= 65535:
        parser.error("--port must be a number from 1 to 65535")
    return run(Checker((arguments.host, arguments.port)))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit("Stopped.")
