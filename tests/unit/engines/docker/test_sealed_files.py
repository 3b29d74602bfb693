"""What is refused when the files of a release are rendered."""

import pytest

from pushrod.core.errors import ManifestError
from pushrod.engines.docker.containers import Parts
from pushrod.engines.docker.sealed_files import _check_volumes


def test_images_that_ask_for_many() -> None:
    images = {"web": Parts("web", root=True, data=tuple(f"/{n}" for n in range(51)))}
    _check_volumes({}, 50, 50)
    for asked, made, where in ((images, 0, "services.web"), ({}, 51, "volumes")):
        with pytest.raises(ManifestError, match="51 volumes") as error:
            _check_volumes(asked, made, 50)
        assert error.value.where == where
        assert "volumes=51" in error.value.hint
