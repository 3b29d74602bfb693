"""Text files of the package in which `@name@` stands where a value goes.

nginx's configuration and units of systemd are full of `$`, and units of `%`: none of Python's own templates leaves
both alone.
"""

import functools
import re
from pathlib import Path

_REMARK = re.compile(r"^ *#: .*\n", re.MULTILINE)


@functools.cache
def read(path: Path) -> str:
    """A template, without the lines that are for those who read the file itself (`#: …`)."""
    return _REMARK.sub("", path.read_text())


def beside(module: str, name: str) -> str:
    """The template `files/NAME` beside a module (its `__file__`)."""
    return read(Path(module).with_name("files") / name)


def fill(template: str, **values: str) -> str:
    """A template with each `@name@` replaced; KeyError for one that is not given."""
    return re.sub(r"@([a-z_]+)@", lambda found: values[found[1]], template)
