"""What the client of lab 2 says and hears. client.py has the socket."""

import pickle
import socket
import sys

ACKNOWLEDGEMENT = 1
PATIENCE_SECONDS = 1  # without a greeting, until we say why that may be
ANSWER_SECONDS = 10  # for the acknowledgement
MAX_INTEGER = 2**64 - 1  # MessagePack has no larger one


class LabError(Exception):
    """What went wrong, in words for the person at the terminal."""


def check_pickle():
    """Raises a LabError if `import pickle` has not found the file beside this one."""
    if not hasattr(pickle, "IS_MESSAGEPACK"):
        raise LabError(
            "This is Python's own pickle: put the lab's pickle.py beside client.py, and run "
            "client.py in a terminal, not in IDLE"
        )


class ClientHelper:
    """The steps of the lab, one after the other. See run."""

    def __init__(self, client):
        """Keeps the client, whose send and receive it uses."""
        self.client = client

    def ask_for_student(self, student_name=None, github_username=None, sid=None):
        """Asks for what is None; returns the request: a dict with the lab's three keys."""
        return {
            "student_name": student_name or self.ask("Your name"),
            "github_username": github_username or self.ask("Your user name on GitHub"),
            "sid": self.read_sid(sid or self.ask("Your student id")),
        }

    def ask(self, question):
        """Asks until there is an answer. Standard output is for the lab's two lines only."""
        answer = ""
        while not answer:
            print(question + ": ", end="", file=sys.stderr, flush=True)
            try:
                answer = input().strip()
            except EOFError:
                raise LabError("\nNo answer: type it, or write it behind client.py") from None
        return answer

    def read_sid(self, text):
        """The student id: an int, or the text itself if it is none, such as 00123 or A-17."""
        is_number = text.isdecimal() and str(int(text)) == text and int(text) <= MAX_INTEGER
        return int(text) if is_number else text

    def run(self, student, host, port):
        """Is greeted, sends the request, and waits for the acknowledgement."""
        greeting = self.wait_for_greeting()
        print("%s has successfully connected to %s/%d" % (greeting, host, port))
        self.send_request(student)
        self.wait_for_acknowledgement()
        print("Data acknowledged by server and you passed the test")

    def wait_for_greeting(self):
        """Returns the greeting: {'clientid': PORT}. It comes when it is our turn."""
        if self.client.is_quiet(PATIENCE_SECONDS):
            words = "Connected, no greeting yet: is another client being served?"
            print(words, file=sys.stderr, flush=True)
        greeting = self.receive("greeting")
        if not isinstance(greeting, dict) or not isinstance(greeting.get("clientid"), int):
            self.fail_because_of(greeting, "greeting")
        return {"clientid": greeting["clientid"]}

    def send_request(self, student):
        """Sends the dict with the student."""
        try:
            self.client.send(student)
        except OSError:
            pass  # it has closed; what it said before that can still be read
        except pickle.PicklingError as error:
            raise LabError("This cannot be sent: %s" % error) from None

    def wait_for_acknowledgement(self):
        """Waits for the server's 1."""
        self.client.limit(ANSWER_SECONDS)
        answer = self.receive("acknowledgement")
        if answer != ACKNOWLEDGEMENT or isinstance(answer, bool):
            self.fail_because_of(answer, "acknowledgement")

    def receive(self, what):
        """The next value from the server. A LabError says why there is none."""
        try:
            return self.client.receive()
        except EOFError:
            reason = "it has closed the connection. Its own terminal says why"
        except socket.timeout:
            reason = "it has the request, but is silent for %d s" % ANSWER_SECONDS
        except OSError as error:
            reason = "the connection broke (%s). Its own terminal says why" % error.strerror
        except pickle.UnpicklingError as error:
            reason = "what it sent cannot be read: %s" % error
        raise LabError("No %s from the server: %s" % (what, reason))

    def fail_because_of(self, value, what):
        """Raises a LabError about a value that came in the place of the right one."""
        if isinstance(value, dict) and "error" in value:
            raise LabError("The server refused: " + self.printable(value["error"]))
        words = self.printable(value)[:200]
        raise LabError("This is not the lab's server: its %s is %s" % (what, words))

    def printable(self, value):
        """The value as text that cannot move the cursor or add lines."""
        return "".join(c if c.isprintable() else "?" for c in str(value))
