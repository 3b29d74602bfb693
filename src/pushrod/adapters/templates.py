"""Text files of the package in which `@name@` is replaced by a value.

nginx's configuration and systemd's units contain many `$`, and units many `%`: none of Python's own template formats
leaves both alone.
"""

import functools
import re
from pathlib import Path

from pushrod.core.patterns import lazy

_REMARK = lazy(r"^ *#: .*\n", re.MULTILINE)


@functools.cache
def read(path: Path) -> str:
    """A template, without the comment lines for readers of the file itself (`#: …`)."""
    return _REMARK.sub("", path.read_text())


def beside(module: str, name: str) -> str:
    """The template `files/NAME` beside a module (its `__file__`)."""
    return read(Path(module).with_name("files") / name)


def fill(template: str, **values: str) -> str:
    """A template with each `@name@` replaced. Raises KeyError for a missing value."""
    return re.sub(r"@([a-z_]+)@", lambda match: values[match[1]], template)
