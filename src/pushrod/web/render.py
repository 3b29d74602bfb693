"""Fills the templates. Every value is escaped, and shown as one harmless line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pushrod.core.amounts import age, size_of
from pushrod.core.printable import plain
from pushrod.core.times import seconds_between, seconds_since, to_the_second

_HERE = Path(__file__).parent


def _shown(value: Any) -> Any:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _ago(at: str) -> str:
    return f"{age(max(0.0, seconds_since(at)))} ago" if at else ""


def _time(at: str) -> Markup:
    """A time of a record: how long ago for people, all of it for machines and as a tooltip."""
    if not at:
        return Markup("")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at, to_the_second(at), _ago(at))


def _seconds(took: float) -> str:
    return f"{took:.2f} s" if took < 100 else age(took)


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(age=age, ago=_ago, time=_time, seconds=_seconds, size=size_of)
    made.globals.update(between=seconds_between)
    return made


_TEMPLATES = _environment()


def page(name: str, values: Mapping[str, Any]) -> str:
    """The HTML of a template with these values."""
    return _TEMPLATES.get_template(name).render(values)
