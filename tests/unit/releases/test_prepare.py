"""What is kept of a release in Git. Sealing itself is in the integration tests."""

from pushrod.core.values import Build
from pushrod.releases.prepare import _without_values
from tests.unit.samples import service


def test_no_value_of_a_variable_or_of_a_build_argument_is_kept() -> None:
    given = service(environment={"KEY": "hush"}, build=Build(arguments={"TOKEN": "hush"}))
    kept = _without_values(given)
    assert kept.environment == {"KEY": None}
    assert kept.build == Build(arguments={"TOKEN": None})
