"""The tables of Compose keys in docs/manifest.md, generated from `pushrod.manifest.keys`.

python -m tools.keys     write them into the page, between its two markers
"""

from collections.abc import Iterator
from pathlib import Path

from pushrod.core.limits import LIMITS
from pushrod.manifest import keys

PAGE = Path(__file__).resolve().parents[1] / "docs" / "manifest.md"
_BEGIN, _END = "<!-- keys -->\n", "<!-- end of keys -->\n"
_TITLES = {"": "top level", "networks": "`networks`"}
_WORD = {"word": "needs a grant"}


def page() -> str:
    """All tables, after a legend."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    for fate, meaning in keys.FATES.items():
        yield f"- **{_WORD.get(fate, fate)}**: {meaning}."
    for place, rows in keys.SECTIONS.items():
        title = _TITLES.get(place, f"`{place.replace('*', '<name>')}`")
        yield from ("", f"| {title} | Docker | embedded | details |", "|---|---|---|---|")
        for row in rows:
            fates = (_WORD.get(fate, fate) for fate in (row.docker, row.embedded))
            yield f"| {'all' if row.path == '*' else f'`{row.path}`'} | {' | '.join(fates)} | {row.says} |"


def limits() -> str:
    """The table of docs/host.md: each limit, and what it bounds."""
    rows = (f"| `{name.replace('_', '-')}` | {limit.meaning} |" for name, limit in LIMITS.items())
    return "\n".join(("| limit | what it bounds |", "|---|---|", *rows)) + "\n"


def main() -> None:
    """Write the tables into the page."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    PAGE.write_text(f"{before}{_BEGIN}{page()}{_END}{rest.partition(_END)[2]}")


if __name__ == "__main__":
    main()
