"""What a client sets changes nothing in its session; the machine's own proxies count."""

from pathlib import Path

from pushrod.provisioning import session

CLIENT = {
    "PATH": "/srv/evil:/bin",
    "HTTPS_PROXY": "http://evil:1",
    "http_proxy": "http://evil:1",
    "ALL_PROXY": "http://evil:1",
    "TZ": ":/srv/evil",
    "LD_PRELOAD": "/srv/evil.so",
}


def test_nothing_of_a_client_is_kept(tmp_path: Path) -> None:
    kept = session.environment(CLIENT | {"HOME": "/var/lib/pushrod", "LANG": "C.UTF-8"}, tmp_path / "none")
    assert kept == {"HOME": "/var/lib/pushrod", "LANG": "C.UTF-8", "PATH": session.PATH}


def test_the_proxies_are_the_machines(tmp_path: Path) -> None:
    machine = tmp_path / "environment"
    machine.write_bytes(
        b'PATH="/srv/evil"\n# HTTP_PROXY=http://old:1\nexport https_proxy="http://proxy.example:3128"\n'
        b"NO_PROXY=localhost,.example\nHTTP_PROXY=\nLD_PRELOAD=/x\nALL_PROXY=http://all:1\n\xff\n"
    )
    kept = session.environment(CLIENT, machine)
    assert kept == {
        "PATH": session.PATH,
        "https_proxy": "http://proxy.example:3128",
        "NO_PROXY": "localhost,.example",
    }
