"""Which SQL files of the commit a store runs at first. `tests/integration/test_first_scripts.py` runs them."""

from pathlib import Path

from pushrod.core.values import Service, Volume
from pushrod.engines.embedded import first_scripts
from pushrod.manifest.mounts import FIRST_SCRIPTS


def test_files_and_directories_of_the_commit_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("db/2-rows.sql", "db/load.sh", "sql/tables.sql", "db/more/3.sql"):
        path = tmp_path / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("select 1;\n")
    (tmp_path / "outside.sql").write_text("select 1;\n")
    (tmp_path / "checkout" / "link.sql").symlink_to(tmp_path / "outside.sql")
    volumes = (
        Volume("db", FIRST_SCRIPTS, bind=True),
        Volume("sql/tables.sql", f"{FIRST_SCRIPTS}/1-tables.sql", bind=True),
        Volume("link.sql", f"{FIRST_SCRIPTS}/link.sql", bind=True),
        Volume("gone.sql", f"{FIRST_SCRIPTS}/gone.sql", bind=True),
    )
    scripts = first_scripts.of(Service("db", "store", volumes=volumes), tmp_path / "checkout")
    assert [path.name for path in scripts] == ["tables.sql", "2-rows.sql"]
