"""Programs that seem to need a capability that Docker grants and pushrod does not."""

from pathlib import Path
from typing import Any

import pytest

from pushrod import manifest
from pushrod.adapters import docker
from pushrod.core.errors import ReadyError
from pushrod.engines.docker import filecaps, images, rights
from pushrod.engines.docker.containers import Parts
from pushrod.state.apps import App, Root

PROBE = """\
import os, socket
# mknod( is only in a comment
os.chroot("/")
socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
"""


def needed(
    checkout: Path, dockerfile: str = "", files: dict[str, str] | None = None, **keys: Any
) -> dict[str, str]:
    for name, text in (files or {}).items():
        (checkout / name).write_text(text)
    if dockerfile:
        (checkout / "Dockerfile").write_text(f"FROM debian\n{dockerfile}\n")
    service = {"build": "."} if dockerfile or "image" not in keys else {}
    result = manifest.read({"services": {"web": {**service, "ports": ["80:80"], **keys}}}, engine="docker")
    return rights.needs(result.service("web"), checkout)


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ({"command": ["ping", "-c", "1", "db"]}, {"NET_RAW": "`ping`"}),
        ({"command": "sh -c 'while ! ping -c1 db; do sleep 1; done; exec app'"}, {}),
        ({"command": ["sh", "-c", "until ping -c1 db; do sleep 1; done"]}, {"NET_RAW": "`ping`"}),
        ({"command": ["sh", "-c", "cd /srv && exec /sbin/chroot . app"]}, {"SYS_CHROOT": "`/sbin/chroot`"}),
        ({"command": ["/usr/sbin/sshd", "-D"]}, {"SYS_CHROOT": "`/usr/sbin/sshd`"}),
        ({"entrypoint": ["sh", "-c", "mknod /dev/x c 1 3; app"]}, {"MKNOD": "`mknod`"}),
        ({"post_start": [{"command": ["setcap", "cap_net_raw+ep", "/app"]}]}, {"SETFCAP": "`setcap`"}),
        ({"healthcheck": {"test": ["CMD", "fping", "localhost"]}}, {"NET_RAW": "`fping`"}),
        ({"command": ["app", "--mode", "shipping"]}, {}),
        ({"command": ["sh", "-c", "echo no ping here; app --chroot-free"]}, {}),
        ({"command": "gunicorn app:app", "healthcheck": {"test": "curl -f localhost/ping"}}, {}),
        ({"image": "atmoz/sftp:alpine"}, {"SYS_CHROOT": "the image sftp"}),
        ({"image": "prom/blackbox-exporter"}, {"NET_RAW": "the image blackbox-exporter"}),
        ({"image": "nginx:1.29"}, {}),
    ],
)  # fmt: skip
def test_needed_capabilities_are_inferred_from_the_command(
    tmp_path: Path, given: dict[str, Any], result: dict[str, str]
) -> None:
    dockerfile = "" if "image" in given else "ENTRYPOINT []"
    assert needed(tmp_path, dockerfile, **given) == result


@pytest.mark.parametrize(
    ("dockerfile", "files", "result"),
    [
        ('COPY d.sh /usr/local/bin/e\nENTRYPOINT ["e"]', {"d.sh": "chroot /srv true\n"}, {"SYS_CHROOT": "d.sh"}),
        ('CMD ["python", "-m", "probe"]', {"probe.py": "from scapy.all import *\n"}, {"NET_RAW": "probe.py"}),
        ('CMD ["node", "s.js"]', {"s.js": 'require("raw-socket")\n'}, {"NET_RAW": "s.js"}),
        (
            'COPY all.conf /etc/s.conf\nCMD ["supervisord", "-c", "/etc/s.conf"]',
            {"all.conf": "[program:s]\ncommand=/usr/sbin/sshd -D\n"},
            {"SYS_CHROOT": "all.conf"},
        ),
        ('CMD ["sh", "-c", "python probe.py; exec python app.py"]', {"probe.py": PROBE, "app.py": ""},
         {"NET_RAW": "probe.py", "SYS_CHROOT": "probe.py"}),
        ('ENTRYPOINT ["/app/start.sh"]', {"start.sh": "#!/bin/sh\nset -e\nchroot --userspec=app / app\n"},
         {"SYS_CHROOT": "start.sh"}),
        ('ENTRYPOINT ["/app/start.sh"]', {"start.sh": "#!/bin/sh\n# ping -c1 db\nexec app --shipping ping\n"}, {}),
        ('CMD ["python", "app.py"]', {"app.py": "subprocess.run(['ping', '-c1', host])\n"}, {"NET_RAW": "app.py"}),
        ('CMD ["python", "app.py"]', {"app.py": "@get('/ping')\ndef ping(): return 'pong'\n"}, {}),
        ('CMD ["python", "app.py"]', {"app.py": "x", "other.py": PROBE}, {}),
        ("RUN setcap cap_net_raw,cap_net_bind_service=+ep /usr/bin/app", {}, {"NET_RAW": "setcap in its Dockerfile"}),
        ("RUN apt-get update && \\\n    setcap 'cap_sys_chroot+ep' \\\n /usr/bin/app", {},
         {"SYS_CHROOT": "setcap in its Dockerfile"}),
        ("RUN setcap cap_net_bind_service=+ep /usr/bin/caddy", {}, {}),
    ],
)  # fmt: skip
def test_needed_capabilities_are_inferred_from_the_start_script(
    tmp_path: Path, dockerfile: str, files: dict[str, str], result: dict[str, str]
) -> None:
    assert needed(tmp_path, dockerfile, files) == result


def remarks(
    checkout: Path, images: dict[str, str] | None = None, notes: tuple[str, ...] = (), **keys: Any
) -> list[str]:
    document = {
        "services": {"web": {"image": "x", "ports": ["80:80"], "command": ["chroot", "/", "x"], **keys}}
    }
    parsed = manifest.read(document, engine="docker")
    parsed = type(parsed)(**{**{f: getattr(parsed, f) for f in parsed.__struct_fields__}, "notes": notes})
    return rights.remarks(App(Root(checkout), "shop"), document, parsed, checkout, images or {})


def test_a_remark_lists_capabilities_and_how_to_get_them(tmp_path: Path) -> None:
    (result,) = remarks(tmp_path, command=["sh", "-c", "chroot / x; mknod y c 1 3"])
    assert result == (
        "web: seems to need capabilities that containers do not have here (`mknod`: device files (MKNOD); `chroot`:"
        " chroot (SYS_CHROOT)). To have them: `cap_add: [MKNOD, SYS_CHROOT]`, and by the host's owner: pushrod apps"
        " allow shop MKNOD SYS_CHROOT"
    )


@pytest.mark.parametrize(
    "more",
    [
        {"cap_add": ["SYS_CHROOT"]},
        {"cap_add": ["CAP_SYS_CHROOT"]},
        {"cap_add": ["ALL"]},
        {"privileged": True},
        {"command": ["app"]},
        {"notes": ("web: SYS_CHROOT of `cap_add` not given; the host's owner can grant it: …",)},
    ],
)
def test_a_granted_capability_gives_no_remark(tmp_path: Path, more: dict[str, Any]) -> None:
    assert remarks(tmp_path, **more) == []


def test_file_capabilities_of_an_image_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "image", lambda name: {"Id": "1"} if name == "here" else None)
    files = {"/usr/bin/ping": frozenset({"NET_RAW"}), "/usr/bin/caddy": frozenset({"NET_BIND_SERVICE"})}
    monkeypatch.setattr(filecaps.Cache, "of_image", lambda _self, _name: files)
    monkeypatch.setattr(images, "parts", lambda name: Parts(name, root=True))
    (result,) = remarks(tmp_path, {"web": "here"}, command=["app"])
    assert "(/usr/bin/ping: raw sockets (NET_RAW))" in result
    (result,) = remarks(tmp_path, {"web": "here"}, command=["app"], user="1000")
    assert "/usr/bin/caddy: NET_BIND_SERVICE; " in result
    assert result.endswith(
        "`cap_add: [NET_BIND_SERVICE, NET_RAW]`, and by the host's owner: pushrod apps allow shop NET_RAW"
    )
    both: dict[str, Any] = {"cap_add": ["NET_BIND_SERVICE", "NET_RAW"], "user": "1000"}
    assert remarks(tmp_path, {"web": "here"}, command=["app"], **both) == []
    del files["/usr/bin/ping"]
    (result,) = remarks(tmp_path, {"web": "here"}, command=["app"], user="1000")
    assert result.endswith("To have them: `cap_add: [NET_BIND_SERVICE]`")
    assert remarks(tmp_path, {"web": "not here"}, command=["app"]) == []


@pytest.mark.parametrize(
    ("line", "capability"),
    [
        ("FAIL chroot [Errno 1] Operation not permitted: '/'", "SYS_CHROOT"),
        ('sshd: fatal: chroot("/run/sshd"): Operation not permitted [preauth]', "SYS_CHROOT"),
        ("ping: socket: Operation not permitted", "NET_RAW"),
        ("PermissionError: [Errno 1] Operation not permitted (raw socket)", "NET_RAW"),
        ("mknod: /dev/x: Operation not permitted", "MKNOD"),
        ("unable to set CAP_SETFCAP effective capability: Operation not permitted; setcap failed", "SETFCAP"),
        ("chown: changing ownership of '/x': Operation not permitted", ""),
        ("chroot: this works", ""),
    ],
)
def test_needed_capabilities_are_inferred_from_the_log(line: str, capability: str) -> None:
    assert list(rights.in_log([line])) == ([capability] if capability else [])
    reported = rights.from_log("shop", "web", ["fine", line], [], "")
    assert len(reported) == bool(capability)
    assert rights.from_log("shop", "web", [line], [capability], "") == []
    assert rights.from_log("shop", "web", [line], [], f"… ({capability})") == []


@pytest.mark.parametrize(
    ("log", "advice"),
    [
        ("ping: socket: Operation not permitted", "pushrod apps allow shop NET_RAW"),
        (
            'sudo: The "no new privileges" flag is set, which prevents sudo',
            "pushrod apps allow shop unconfined",
        ),
        ("exec /usr/bin/app: operation not permitted", "its file has capabilities that the container lacks"),
        ("no such table", ""),
    ],
)
def test_an_error_gives_advice_about_capabilities(log: str, advice: str) -> None:
    error = ReadyError("ended while starting", hint="fix it", log=("begin", log))
    rights.explain(error, "shop")
    assert advice in error.hint
    assert error.hint.endswith("fix it")
    assert (error.hint == "fix it") is not bool(advice)


def test_images_that_are_made_alike_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copied files differ at each push; the base and the commands only differ when the Dockerfile changes."""
    read: list[str] = []
    copied = "/bin/sh -c #(nop) COPY dir:{} in /app"
    made_by = {
        "one": ["CMD x", copied.format("0" * 64), "RUN a"],
        "other": ["CMD x", copied.format("f" * 64), "RUN a"],
        "two": ["CMD x", copied.format("0" * 64), "RUN b"],
    }
    asked: list[str] = []
    monkeypatch.setattr(docker, "made_by", lambda name: asked.append(name) or made_by[name])
    monkeypatch.setattr(
        docker, "image", lambda name: {"Id": f"sha256:{name}", "RootFS": {"Layers": ["sha256:base", name]}}
    )
    monkeypatch.setattr(filecaps, "_read", lambda name: read.append(name) or {"/x": frozenset({"NET_RAW"})})
    for name in ("one", "other", "two", "one"):
        assert filecaps.Cache(tmp_path / "kept").of_image(name) == {"/x": {"NET_RAW"}}
    assert read == ["one", "two"]
    assert asked == ["one", "other", "two"]  # an image that was read is known by its ID
    (tmp_path / "kept").write_text("{")
    assert filecaps.Cache(tmp_path / "kept").of_image("one")
    assert read == ["one", "two", "one"]
    monkeypatch.setattr(docker, "image", lambda name: {"RootFS": {"Layers": ["sha256:newer", name]}})
    assert filecaps.Cache(tmp_path / "kept").of_image("other")
    assert read == ["one", "two", "one", "other"]


def test_the_capability_attribute_of_a_file_is_decoded() -> None:
    """The kernel's revision 2: the permitted set is the second word of the first half."""
    raw = bytes.fromhex("01000002 00240000 00000000 00000000 00000000")
    assert filecaps.capabilities(raw) == {"NET_BIND_SERVICE", "NET_RAW"}
    assert filecaps.capabilities(b"") == frozenset()
