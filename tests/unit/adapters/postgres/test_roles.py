import pytest

from pushrod.adapters.postgres.roles import Roles, ensure_sql
from pushrod.core.errors import StoreError


def test_names_of_the_roles() -> None:
    assert Roles.of("my-shop") == (
        "my-shop_owner",
        "my-shop_migrator",
        "my-shop_app",
        "my-shop_readonly",
        "my-shop_app2",
    )


def test_script_sets_its_names_and_connects_to_the_database() -> None:
    script = ensure_sql("my-shop", "shop", ddl=False)
    assert script.splitlines()[:7] == [
        "\\set owner 'my-shop_owner'",
        "\\set migrator 'my-shop_migrator'",
        "\\set app 'my-shop_app'",
        "\\set readonly 'my-shop_readonly'",
        "\\set app2 'my-shop_app2'",
        "\\set database 'shop'",
        "\\set ddl 'false'",
    ]
    assert '\\connect :"database"' in script


def test_only_the_setting_differs_with_ddl() -> None:
    without, with_it = ensure_sql("a", "a", ddl=False), ensure_sql("a", "a", ddl=True)
    assert with_it == without.replace("\\set ddl 'false'", "\\set ddl 'true'")


@pytest.mark.parametrize("name", ["", "Shop", "1shop", "shop'; drop database x", "a" * 64, "sh op", "a\n"])
def test_a_name_with_special_characters_is_refused(name: str) -> None:
    with pytest.raises(StoreError):
        ensure_sql(name, "shop", ddl=False)
    with pytest.raises(StoreError):
        ensure_sql("shop", name, ddl=False)


def test_the_longest_app_name_fits_postgresqls_identifiers() -> None:
    assert max(len(n) for n in Roles.of("a" * 31)) <= 63
