"""The files of a builder's container."""

import io
import tarfile

from pushrod.engines.docker import builder_files


def test_the_container_has_mount_points_and_no_files() -> None:
    with tarfile.open(fileobj=io.BytesIO(builder_files.archive())) as archive:
        members = {m.name: m for m in archive}
    assert not [m for m in members.values() if m.isfile()]
    assert {"usr", "var/lib/docker", "etc/ssl/certs", "builder"} <= {
        m.name for m in members.values() if m.isdir()
    }
    assert members["bin"].linkname == "usr/bin"
