"""Lab 3: an iterative TCP server. Write what is marked TODO; README.md beside this file helps.

    python3 server.py

(On Windows `py server.py`.) ^C stops it.
"""

import socket
import sys
import traceback

# An editor or a debugger may have loaded Python's own pickle before this program begins, and
# `import` takes what is loaded already. When it is taken out, the file beside this one is found.
sys.modules.pop("pickle", None)
import pickle  # this is the file pickle.py beside this one: it speaks MessagePack

if not hasattr(pickle, "IS_MESSAGEPACK"):
    sys.exit(
        "This is Python's own pickle: the lab's pickle.py is not beside server.py, or this Python "
        "does not look there (python3 -I, PYTHONSAFEPATH)"
    )

HOST = "127.0.0.1"
PORT = 12000
BACKLOG = 10  # clients that may wait in the queue
TODO = "server.py: the method %s is still to be written (TODO)"


class Server:
    """Serves one client after the other, for ever."""

    def __init__(self, host, port):
        """Keeps the address. There is no socket yet."""
        self.host = host
        self.port = port
        self.socket = None

    def run(self):
        """The life of the server. It is complete: write the methods that it calls."""
        self.create_socket()
        try:
            self.bind()
        except OSError as error:
            sys.exit("No server at %s/%d: %s" % (self.host, self.port, error))
        self.listen()
        self.accept_clients()

    def create_socket(self):
        """Makes a TCP socket and keeps it as self.socket."""
        # TODO: socket.socket(...). Linux and macOS: SO_REUSEADDR, or the port is taken for a minute
        #       after each try (README.md, "Step by step").
        raise SystemExit(TODO % "create_socket")

    def bind(self):
        """Gives the socket its address: self.host and self.port."""
        # TODO: self.socket.bind(...) takes one argument, a tuple.
        raise SystemExit(TODO % "bind")

    def listen(self):
        """Lets clients connect, up to BACKLOG of them in the queue, and says so.

        Prints one line: Listening at 127.0.0.1/12000
        """
        # TODO: self.socket.listen(...), then print
        raise SystemExit(TODO % "listen")

    def accept_clients(self):
        """Accepts a client and serves it, then the next one, and never ends.

        Whatever a client does, its socket is closed in the end, and the next one is served. An
        exception is reported in words on standard error, with the address of the client.
        """
        # TODO: while True: self.socket.accept() returns a socket for this client and its address.
        #       Call self.serve_client with both, in a try.
        raise SystemExit(TODO % "accept_clients")

    def serve_client(self, conn, address):
        """The life of one client: greet it, then receive, print and acknowledge until it closes.

        conn is the socket of this client, address is its (host, port).
        """
        # TODO: self.greet, then in a loop self.receive, self.print_student, self.acknowledge
        raise SystemExit(TODO % "serve_client")

    def greet(self, conn, address):
        """Sends {"clientid": P}, where P is the port of the client, before it has sent anything."""
        # TODO: pickle.dumps makes bytes of a dict, conn.sendall sends them.
        raise SystemExit(TODO % "greet")

    def receive(self, conn):
        """Returns the next request, a dict, or None if the client has closed."""
        # TODO: conn.recv(4096) brings bytes, pickle.loads makes a dict of them. No bytes: closed.
        raise SystemExit(TODO % "receive")

    def print_student(self, student):
        """Prints the line of the lab, to the letter.

        Connected: Student: Alice Brown, Github Username: abrown, sid: 123456789
        """
        # TODO: the dict has the keys student_name, github_username and sid.
        raise SystemExit(TODO % "print_student")

    def acknowledge(self, conn):
        """Sends the int 1, after the line was printed."""
        # TODO: as in greet
        raise SystemExit(TODO % "acknowledge")


def main():
    """Runs the server until ^C."""
    try:
        Server(HOST, PORT).run()
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)


if __name__ == "__main__":
    main()
