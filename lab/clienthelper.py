"""What the client of lab 2 says and hears. client.py has the socket and the bytes."""

import os
import socket
import sys

try:
    import readline  # with it, input() understands the arrow keys. On Windows it does without
except ImportError:
    pass

ACKNOWLEDGEMENT = 1
PATIENCE_SECONDS = 1  # without a greeting, until we say why that may be
ANSWER_SECONDS = 10  # for the acknowledgement
MAX_INTEGER = 2**64 - 1  # MessagePack has no larger one
MAX_DIGITS = 20  # of such an integer

ESCAPE = "\x1b"  # the code of an arrow key, or of a paste, begins with it
TYPOGRAPHIC = "“”„«»‐‑‒–—―−"  # what text programs and phones write for " and -
PARTS_OF_NAMES = "\u00a0\u3000\u200c\u200d"  # spaces and joiners, unprintable for Python
BROKEN_LETTER = "a part of a letter is missing, or the terminal is not set to UTF-8"


class LabError(Exception):
    """What went wrong, in words for the person at the terminal."""


def fault_of(text):
    """What is wrong with a text that was typed or pasted; "" if nothing is."""
    for letter in text:
        if letter == ESCAPE:
            return "a key such as an arrow, or a paste, has left its code in it"
        if "\ud800" <= letter <= "\udfff":  # Python's sign for a byte that is no letter
            return BROKEN_LETTER
        if letter in TYPOGRAPHIC:
            return "it has %s, which is not the \" or the - of the keyboard" % letter
        if not letter.isprintable() and letter not in PARTS_OF_NAMES:
            return "it has a sign that cannot be seen (%a)" % letter
    if text.startswith('"'):
        return "it is in quotes, which only the command line needs"
    return ""


def fault_of_words(words):
    """What is wrong with the words on the command line; "" if nothing is."""
    for word in words:
        if fault_of(word):
            return "%a cannot be taken: %s" % (word[:40], fault_of(word))
    is_name_split = len(words) == 2 and len(words[0].split()) == 1
    is_id_a_name = len(words) == 3 and not any(letter.isdigit() for letter in words[2])
    if len(words) > 3 or is_name_split or is_id_a_name:
        example = '"Alice Brown" abrown 123456789'
        return "write a name in quotes and an id with digits, or nothing and it asks: " + example
    return ""


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
        """Asks until there is an answer, and one that is a text."""
        while True:
            try:
                answer = self.read_line(question + ": ").strip()
                fault = fault_of(answer)
            except UnicodeDecodeError:
                fault = BROKEN_LETTER
            except (EOFError, OSError, RuntimeError):  # nobody is there who could answer
                raise LabError("\nNo answer: type it, or write it behind client.py") from None
            if fault:
                print("Type it once more: %s." % fault, file=sys.stderr)
            elif answer:
                return answer

    def read_line(self, question):
        """What is typed in answer. If standard output is a file, it gets the lab's two lines only.

        readline has to know the question: it writes it again when the cursor moves.
        """
        if os.isatty(0) and os.isatty(1):
            return input(question)
        print(question, end="", file=sys.stderr, flush=True)
        return input()

    def read_sid(self, text):
        """The student id: an int, or the text itself if it is none, such as 00123 or A-17."""
        if not text.isdecimal() or len(text) > MAX_DIGITS:
            return text
        is_exact = str(int(text)) == text and int(text) <= MAX_INTEGER
        return int(text) if is_exact else text

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
        except ValueError as error:  # an UnpicklingError is one
            reason = "what it sent cannot be read: %s" % error
        raise LabError("No %s from the server: %s" % (what, reason))

    def fail_because_of(self, value, what):
        """Raises a LabError about a value that came in the place of the right one."""
        if isinstance(value, dict) and "error" in value:
            raise LabError("The server refused: " + self.printable(value["error"])[:500])
        words = self.printable(value)[:200]
        raise LabError("This is not the lab's server: its %s is %s" % (what, words))

    def printable(self, value):
        """The value as text that cannot move the cursor or add lines."""
        return "".join(c if c.isprintable() else "?" for c in str(value))
