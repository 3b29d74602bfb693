"""`nc -z HOST PORT...`: whether something accepts connections, for scripts that wait for a store.

Images install netcat for that; it is on the path of instances only behind the machine's own programs. Options other
than -z, -v and -w are refused, because nothing else is done.
"""

import socket
import sys


def main(argv: list[str]) -> int:
    """The exit status: 0 if every port accepts, 1 if one does not, 2 for any other call."""
    words, seconds, asks = list(argv), 3.0, False
    named: list[str] = []
    while words:
        word = words.pop(0)
        if word == "-w" and words and words[0].isdigit():
            seconds = float(words.pop(0)) or seconds
        elif word.startswith("-w") and word[2:].isdigit():
            seconds = float(word[2:]) or seconds
        elif word.startswith("-") and set(word[1:]) <= set("zvn46") and word != "-":
            asks = asks or "z" in word
        else:
            named.append(word)
    if not asks or len(named) < 2 or not all(port.isdigit() for port in named[1:]):
        sys.stderr.write("nc: this machine has no netcat; pushrod's answers only `nc -z HOST PORT`\n")
        return 2
    return 0 if all(_accepts(named[0], int(port), seconds) for port in named[1:]) else 1


def _accepts(host: str, port: int, seconds: float) -> bool:
    try:
        socket.create_connection((host, port), seconds).close()
    except (OSError, OverflowError) as e:
        sys.stderr.write(f"nc: {host}:{port}: {e}\n")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
