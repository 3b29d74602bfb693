"""Addresses in place of names of services and stores, in variables and commands, where names do not resolve.

`DB_HOST=db` becomes `DB_HOST=127.64.0.9`, `http://api:9000/v1` becomes `http://127.64.0.10:9000/v1`, and so does
`db:5432` as the argument of a script that waits. Pure.
"""

import re
from collections.abc import Mapping, Sequence

from pushrod.core.patterns import lazy

_HOSTS = lazy(r".*(?:HOST|HOSTNAME|SERVER|ADDR|ADDRESS)", re.IGNORECASE)
_PORT = r"(?=:[0-9]{1,5}(?![\w.]))"


def in_environment(environment: Mapping[str, str], addresses: Mapping[str, str]) -> dict[str, str]:
    """The variables with addresses instead of names: of a variable for a host, and where a value has `name:port` or a
    URL."""
    return {
        name: addresses[value]
        if value in addresses and _HOSTS.fullmatch(name)
        else _in_text(value, addresses)
        for name, value in environment.items()
    }


def in_argv(argv: Sequence[str], addresses: Mapping[str, str]) -> tuple[str, ...]:
    """The words with addresses instead of names, where they have `name:port` or a URL."""
    return tuple(_in_text(word, addresses) for word in argv)


def _in_text(text: str, addresses: Mapping[str, str]) -> str:
    if not addresses or ":" not in text:
        return text
    names = "|".join(re.escape(name) for name in sorted(addresses, key=len, reverse=True))
    ends = r"(?![^\s/,]*@)"  # not the user of a URL
    inside = rf"(?P<before>://(?:[^\s/@]*@)?)(?P<host>{names})(?:{_PORT}|(?=[/?#]|$)){ends}"
    pattern = rf"{inside}|(?<![\w.@/:-])(?P<plain>{names}){_PORT}{ends}"

    def address(match: re.Match[str]) -> str:
        return (match["before"] or "") + addresses[match["host"] or match["plain"]]

    return re.sub(pattern, address, text)
