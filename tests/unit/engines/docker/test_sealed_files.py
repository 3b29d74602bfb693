"""Refusals while a release's files are rendered."""

import pytest

from pushrod.core.errors import ManifestError
from pushrod.engines.docker.containers import Parts
from pushrod.engines.docker.sealed_files import _check_volumes


def test_too_many_volumes_are_refused() -> None:
    images = {"web": Parts("web", root=True, data=tuple(f"/{n}" for n in range(51)))}
    _check_volumes({}, 50, 50)
    for requested, made, where in ((images, 0, "services.web"), ({}, 51, "volumes")):
        with pytest.raises(ManifestError, match="51 volumes") as error:
            _check_volumes(requested, made, 50)
        assert error.value.where == where
        assert "volumes=51" in error.value.hint
