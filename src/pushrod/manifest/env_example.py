"""The variables that `.env.example` asks for and that nothing provides. Pure.

The file is a habit, not a format. A name in it with no value, or with one that only holds the place (`changeme`,
`<your-key>`), has to be given on the machine. A name with a real value counts as asked for only where the app would
otherwise go without it.
"""

import re
from collections.abc import Collection, Mapping

from pushrod.manifest.document import Key

_PLACEHOLDER = re.compile(
    r"<.*>|\[.*\]|\{\{.*\}\}|x{3,}|\*{3,}|\.{3,}|-+|todo|tbd|none|null|fixme|placeholder|dummy"
    r"|(?:change|replace|fill|set|insert|put|enter|add)[-_ ]?(?:me|this|it|in|here|your|with|a)(?![a-z0-9]).*"
    r"|.*change[-_ ]?me.*"
    r"|your[-_ ].*|my[-_ ]?(?:secret|password|key|token).*|(?:secret|password|example)",
    re.IGNORECASE,
)


def names(
    example: Mapping[str, str], known: Collection[str], document: object, *, env_file: bool
) -> tuple[str, ...]:
    """The names of an example file that a person still has to give, in the file's order.

    `known` are the names that have a value already: the app's secrets, and what pushrod gives. `document` is the
    resolved compose file. With `env_file`, services read an env file that Git does not have, so every name in the
    example is theirs; without, one with a real value is asked for only if a service names it and has no value.
    """
    given, lacking = _taken(document)
    real = {name for name, value in example.items() if not is_placeholder(value)}
    return tuple(
        name
        for name in example
        if name not in known and (name not in real or (name not in given and (env_file or name in lacking)))
    )


def is_placeholder(value: str) -> bool:
    """Whether a value is none: empty, or words that say that one belongs here."""
    return not value.strip() or bool(_PLACEHOLDER.fullmatch(value.strip()))


def _taken(document: object) -> tuple[set[str], set[str]]:
    """The variables that some service has with a value, and those that one names without."""
    given: set[str] = set()
    lacking: set[str] = set()
    for service in Key("", document).get("services").mapping().values():
        for name, key in service.get("environment").mapping().items():
            (lacking if key.value in (None, "") else given).add(name)
    return given, lacking
