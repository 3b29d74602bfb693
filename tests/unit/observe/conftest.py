"""What tests of notices share."""

from collections.abc import Iterator

import pytest

from tests.unit.observe.webhooks import Webhook, listening


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with listening() as made:
        yield made
