"""The host's edge: run by the system's Python, from the copies below the root."""

from pathlib import Path

from pushrod.engines.docker import host_edge
from pushrod.state.apps import Root


def test_the_edge_argv_does_not_depend_on_the_package() -> None:
    argv = host_edge.argv(Root(Path("/var/lib/pushrod")))
    at = "/var/lib/pushrod"
    assert argv == (
        *("/usr/bin/python3", "-I", "-S", f"{at}/edge/nginx_start.py", f"{at}/run/edge/mark.sock"),
        *(f"{at}/programs/nginx", "-p", f"{at}/edge/", "-c", f"{at}/edge/current/nginx.conf"),
        *("-e", f"{at}/edge/logs/error.log"),
    )
    assert host_edge.rotation(Root(Path(at))) == (*argv[:3], f"{at}/edge/nginx_rotation.py", f"{at}/edge")
