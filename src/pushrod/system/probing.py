"""Probing servers: many at once, each within one time limit for the whole exchange.

A probed server may be hostile. One that sends a byte a second, or a head without an end, costs at most `timeout`
seconds and `_MOST` bytes, and delays no other. Redirects are not followed and bodies are not read. Standard library
only: a copy below ROOT serves the programs that run there without pushrod.
"""

import errno
import os
import re
import selectors
import socket
import time
import urllib.parse
from collections.abc import Sequence
from typing import NamedTuple

TIMEOUT = 5.0
"""Seconds that one question may take, from the first packet to the end of the response's head."""

WIDTH = 200
"""Questions in progress at once: each uses a file descriptor, and systemd gives a service 1024."""

_MOST = 65536  # bytes of a response's head
_PART = 4096
_SAFE = "/?&=%:@!$'()*+,;~"  # what a target may contain besides letters and digits (RFC 3986, 3.3)
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\n]{0,1000})?\r?\n")
_END = re.compile(rb"\r?\n\r?\n")
_BEGIN = b"HTTP/1."
_NOT_HTTP = "was not answered in HTTP"
_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Question(NamedTuple):
    """What to ask: a GET of `target` over HTTP or, if that is empty, whether the port accepts connections.

    `host` is the Host header; empty means the server's address.
    """

    address: str
    port: int
    target: str = ""
    host: str = ""


class Answer(NamedTuple):
    """The status received (0: none was asked for), or the reason for its absence; `refused` if nothing listens."""

    status: int = 0
    why: str = ""
    refused: bool = False


def ask(questions: Sequence[Question], timeout: float = TIMEOUT) -> list[Answer]:
    """The answer to each question; `timeout` seconds apply to each from its start.

    All finish within `timeout` × number of questions / WIDTH seconds, whatever the servers do.
    """
    answers: dict[int, Answer] = {}
    left = list(enumerate(questions))[::-1]
    with selectors.DefaultSelector() as selector:
        talks: dict[int, _Talk] = {}
        while left or talks:
            while left and len(talks) < WIDTH:
                index, question = left.pop()
                talk = _Talk(question, timeout)
                if talk.answer is None:
                    talks[index] = talk
                    selector.register(talk.socket, _WRITE, index)
                else:
                    answers[index] = talk.answer
            wait = min((t.end for t in talks.values()), default=0.0) - time.monotonic()
            for key, _ in selector.select(max(0.0, wait)) if talks else ():
                talks[key.data].go_on()
                if not talks[key.data].sending:
                    selector.modify(key.fileobj, _READ, key.data)
            now = time.monotonic()
            for index, talk in list(talks.items()):
                if talk.answer is None and now >= talk.end:
                    talk.answer = Answer(why="timed out")
                if talk.answer is not None:
                    selector.unregister(talk.socket)
                    talk.socket.close()
                    answers[index] = talks.pop(index).answer or Answer()
    return [answers[index] for index in range(len(questions))]


def at(address: str, port: int) -> str:
    """Address and port as one word, with brackets for IPv6."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class _Talk:
    """One question in progress, on a non-blocking socket."""

    def __init__(self, question: Question, timeout: float) -> None:
        self.end = time.monotonic() + timeout
        self.answer: Answer | None = None
        self.sending = True
        self._question, self._received = question, bytearray()
        self.socket = socket.socket(socket.AF_INET6 if ":" in question.address else socket.AF_INET)
        self.socket.setblocking(False)
        status = self.socket.connect_ex((question.address, question.port))
        if status not in _UNDER_WAY:
            self._failed(status)
            self.socket.close()

    def go_on(self) -> None:
        """Do what is possible without waiting; sets `answer` once it is known."""
        try:
            if self.sending:
                self._send()
            else:
                self._receive()
        except BlockingIOError:
            return
        except OSError as e:
            self._failed(e.errno or errno.EIO)

    def _send(self) -> None:
        if status := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._failed(status)
            return
        if not self._question.target:
            self.answer = Answer()
            return
        lines = (
            f"GET {urllib.parse.quote(self._question.target, safe=_SAFE)} HTTP/1.1",
            f"Host: {self._question.host or at(self._question.address, self._question.port)}",
            "Accept-Encoding: identity",
            "Connection: close",
            "User-Agent: pushrod-health",
        )
        self.socket.send("".join(f"{line}\r\n" for line in (*lines, "")).encode())  # less than a first packet
        self.sending = False

    def _receive(self) -> None:
        part, known = self.socket.recv(_PART), len(self._received)
        self._received += part
        status = _STATUS.match(self._received)
        end = _END.search(self._received, max(0, known - 3))  # earlier bytes were searched before
        while status and end and status[1].startswith(b"1"):  # interim: more follows (RFC 9110, 15.2)
            del self._received[: end.end()]
            status, end = _STATUS.match(self._received), _END.search(self._received)
        if status and (end or not part):
            self.answer = Answer(int(status[1]))
        elif not part and not self._received:
            self.answer = Answer(why="Remote end closed connection without response")
        elif not part or (status is None and self._is_not_http()) or len(self._received) > _MOST:
            self.answer = Answer(why=_NOT_HTTP)

    def _is_not_http(self) -> bool:
        return not _BEGIN.startswith(self._received[: len(_BEGIN)]) or b"\n" in self._received[:_PART]

    def _failed(self, status: int) -> None:
        self.answer = Answer(why=os.strerror(status), refused=status == errno.ECONNREFUSED)
