"""No request is dropped on a Docker host, whatever happens. `make soak ENGINE=docker` does it for longer."""

import pytest

from devtools import no_drop
from devtools.lab import images
from devtools.lab.no_drop import a_server
from devtools.no_drop import Steady
from tests.conftest import needs_lab

pytestmark = pytest.mark.lab

STEPS = ("certificate renewed", "deploy", "scale to 2", no_drop.KILL, "edge reload")


def test_no_request_is_dropped_over_any_protocol(tmp_path_factory: pytest.TempPathFactory) -> None:
    needs_lab(images.box_problem())

    def everything(app: Steady) -> object:
        return {step: no_drop.STEPS[step](app) for step in STEPS}[no_drop.KILL]

    with a_server(tmp_path_factory.mktemp("desk")) as app:
        row = no_drop.under_load(app, "all steps, one after the other", everything, 50.0, lasting=1.0)
        print(no_drop.table_by_shape([row]))
        assert row.clean, str(row)
        assert set(row.report.protocols) == set(no_drop.PROTOCOLS)
        assert len(row.report.total.releases) >= 2, str(row)
        assert row.report.goaways > 0, "HTTP/2 was led from old workers to new ones"
