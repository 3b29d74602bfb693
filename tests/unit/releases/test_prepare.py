"""What is kept of a release in Git. Sealing itself is in the integration tests."""

import pytest

from pushrod.core.errors import ManifestError
from pushrod.core.values import Build
from pushrod.manifest import domains
from pushrod.manifest.document import Key
from pushrod.releases.prepare import _naming_unset, _without_values
from tests.unit.samples import service


def test_values_of_variables_and_build_arguments_are_not_kept() -> None:
    given = service(environment={"KEY": "hush"}, build=Build(arguments={"TOKEN": "hush"}))
    kept = _without_values(given)
    assert kept.environment == {"KEY": None}
    assert kept.build == Build(arguments={"TOKEN": None})


def test_an_empty_value_is_explained_by_the_variables_that_are_not_set() -> None:
    warnings = ["another note", 'The "DOMAIN" variable is not set. Defaulting to a blank string.']
    with pytest.raises(ManifestError) as e, _naming_unset(warnings):
        domains.read(Key("x-pushrod.domains", [""]))
    assert e.value.what == "expected a host name such as shop.example.com, or *.example.com, found nothing"
    assert e.value.hint.endswith("DOMAIN: pushrod secret set DOMAIN")
    with pytest.raises(ManifestError) as e, _naming_unset(warnings):
        domains.read(Key("x-pushrod.domains", ["A.example"]))
    assert "DOMAIN" not in e.value.hint
