"""Lab 3: an iterative TCP server. Write what is marked TODO; README.md beside this file helps.

    python3 server.py

(On Windows `py server.py`.) ^C stops it.
"""

import pickle  # this is the file pickle.py beside this one: it speaks MessagePack
import socket
import sys

HOST = "127.0.0.1"
PORT = 12000
BACKLOG = 10  # clients that may wait in the queue


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
        self.bind()
        self.listen()
        self.accept_clients()

    def create_socket(self):
        """Makes a TCP socket and keeps it as self.socket."""
        # TODO: socket.socket(...). Linux and macOS: SO_REUSEADDR, or the port is taken for a minute
        #       after each try (README.md, "Step by step").
        raise NotImplementedError("create_socket")

    def bind(self):
        """Gives the socket its address: self.host and self.port."""
        # TODO: self.socket.bind(...) takes one argument, a tuple.
        raise NotImplementedError("bind")

    def listen(self):
        """Lets clients connect, up to BACKLOG of them in the queue, and says so.

        Prints one line: Listening at 127.0.0.1/12000
        """
        # TODO: self.socket.listen(...), then print
        raise NotImplementedError("listen")

    def accept_clients(self):
        """Accepts a client and serves it, then the next one, and never ends.

        Whatever a client does, its socket is closed in the end, and the next one is served. An
        exception is reported in words on standard error, with the address of the client.
        """
        # TODO: while True: self.socket.accept() returns a socket for this client and its address.
        #       Call self.serve_client with both, in a try.
        raise NotImplementedError("accept_clients")

    def serve_client(self, conn, address):
        """The life of one client: greet it, then receive, print and acknowledge until it closes.

        conn is the socket of this client, address is its (host, port).
        """
        # TODO: self.greet, then in a loop self.receive, self.print_student, self.acknowledge
        raise NotImplementedError("serve_client")

    def greet(self, conn, address):
        """Sends {"clientid": P}, where P is the port of the client, before it has sent anything."""
        # TODO: pickle.dumps makes bytes of a dict, conn.sendall sends them.
        raise NotImplementedError("greet")

    def receive(self, conn):
        """Returns the next request, a dict, or None if the client has closed."""
        # TODO: conn.recv(4096) brings bytes, pickle.loads makes a dict of them. No bytes: closed.
        raise NotImplementedError("receive")

    def print_student(self, student):
        """Prints the line of the lab, to the letter.

        Connected: Student: Alice Brown, Github Username: abrown, sid: 123456789
        """
        # TODO: the dict has the keys student_name, github_username and sid.
        raise NotImplementedError("print_student")

    def acknowledge(self, conn):
        """Sends the int 1, after the line was printed."""
        # TODO: as in greet
        raise NotImplementedError("acknowledge")


def main():
    """Runs the server; returns the exit status."""
    if not hasattr(pickle, "IS_MESSAGEPACK"):
        words = "put the lab's pickle.py beside server.py, and run it in a terminal, not in IDLE"
        print("This is Python's own pickle: " + words, file=sys.stderr)
        return 1
    try:
        Server(HOST, PORT).run()
        return 0
    except NotImplementedError as error:
        print("server.py: the method %s is still to be written (TODO)" % error, file=sys.stderr)
        return 1
    except OSError as error:
        print("No server at %s/%d: %s" % (HOST, PORT, error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 0


if __name__ == "__main__":
    sys.exit(main())
