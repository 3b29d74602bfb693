"""The variables of `.env.example` that still need a value. Pure.

The file is a habit, not a format. A name in it without a value, or with a placeholder (`changeme`, `<your-key>`),
must be set on the machine. A name with a real value must be set only if the app would otherwise have none.
"""

import re
from collections.abc import Collection, Mapping

from pushrod.manifest.document import Key

_QUOTED = re.compile(r"""\s*(['"])(.*?)\1\s*(?:#.*)?""")
_PLACEHOLDER = re.compile(
    r"<.*>|\[.*\]|\{\{.*\}\}|x{3,}|\*{3,}|\.{3,}|-+|todo|tbd|none|null|fixme|placeholder|dummy"
    r"|(?:change|replace|fill|set|insert|put|enter|add)[-_ ]?(?:me|this|it|in|here|your|with|a)(?![a-z0-9]).*"
    r"|.*change[-_ ]?me.*"
    r"|your[-_ ].*|my[-_ ]?(?:secret|password|key|token).*|(?:secret|password|example)",
    re.IGNORECASE,
)


def parse(text: str) -> dict[str, str]:
    """The names and values of an example file, whatever else is in it: `NAME=value` lines, optional `export`, quotes
    removed, # comments ignored. A `.env` file itself is read by Compose (`adapters.dotenv`)."""
    variables: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not equals or name.startswith("#"):
            continue
        quoted = _QUOTED.fullmatch(value)
        variables[name.strip()] = quoted[2] if quoted else value.split(" #")[0].strip()
    return variables


def names(
    example: Mapping[str, str], known: Collection[str], document: object, *, env_file: bool
) -> tuple[str, ...]:
    """The names of an example file that a person still has to set, in the file's order.

    `known` are the names that have a value already: the app's secrets, and what pushrod provides. `document` is the
    resolved compose file. With `env_file`, services read an env file that is not in Git, so they need every name in
    the example; without, a name with a real value is needed only if a service names it without a value.
    """
    given, lacking = _taken(document)
    real = {name for name, value in example.items() if not is_placeholder(value)}
    return tuple(
        name
        for name in example
        if name not in known and (name not in real or (name not in given and (env_file or name in lacking)))
    )


def is_placeholder(value: str) -> bool:
    """Whether a value is empty or a placeholder."""
    return not value.strip() or bool(_PLACEHOLDER.fullmatch(value.strip()))


def _taken(document: object) -> tuple[set[str], set[str]]:
    """The variables that some service sets, and those that one names without a value."""
    given: set[str] = set()
    lacking: set[str] = set()
    for service in Key("", document).get("services").mapping().values():
        for name, key in service.get("environment").mapping().items():
            (lacking if key.value in (None, "") else given).add(name)
    return given, lacking
