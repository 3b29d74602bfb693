"""Capabilities that Docker gives every container and pushrod does not: who gets a note, and how to get them
back."""

import pytest

from devtools.apps import complaint
from devtools.lab.ground import Ground, Shop

pytestmark = [pytest.mark.lab, pytest.mark.long]

SERVE = """\
import http.server
http.server.ThreadingHTTPServer(("", 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
PROBE = """\
import os, socket
tries = {
    "chroot": lambda: os.chroot("/"),
    "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "mknod": lambda: os.mknod("/tmp/null", 0o20666, os.makedev(1, 3)),
}
for name, do in tries.items():
    try:
        do()
        print("ok", name, flush=True)
    except OSError as e:
        print("failed", name, e, flush=True)
"""
DOCKERFILE = "FROM python:3.13-slim\nWORKDIR /app\nCOPY . .\nEXPOSE 8000\n"
FILE = "services: {web: {build: ., ports: ['8000:8000']KEYS}}\n"
ALL = ("MKNOD", "NET_RAW", "SYS_CHROOT")


def tree(name: str, command: str, keys: str = "", dockerfile: str = "") -> dict[str, str]:
    return {
        "serve.py": SERVE,
        "Dockerfile": f"{DOCKERFILE}{dockerfile}CMD {command}\n",
        "compose.yaml": f"x-pushrod: {{domains: [{name}.localhost]}}\n{FILE.replace('KEYS', keys)}",
    }


def printed(app: Shop) -> str:
    return app.ssh("logs", "web").stdout


def test_capabilities_needed_by_a_script_are_noted_by_plan_and_push(ground: Ground) -> None:
    command = '["sh", "-c", "python probe.py; exec python serve.py"]'
    app = ground.app("probes", tree("probes", command))
    app.tree.commit({"probe.py": PROBE}, "probe")
    ground.box.ssh("apps", "create", "probes", user="pushrod")
    expected = "(probe.py: device files (MKNOD), raw sockets (NET_RAW), chroot (SYS_CHROOT))"
    assert expected in app.at_desk("plan").stdout
    pushed = app.push()
    assert pushed.ok, pushed.err
    assert pushed.err.count("seems to need capabilities") == 1
    assert expected in pushed.err
    assert printed(app).count("failed") == 3
    app.tree.commit({"again": ""}, "again")
    assert "seems to need" not in app.push().err

    ground.pushrod("apps", "allow", "probes", *ALL)
    keys = f", cap_add: [{', '.join(ALL)}]"
    app.tree.commit(tree("probes", command, keys), "asks")
    pushed = app.push()
    assert pushed.ok, pushed.err
    assert "capabilit" not in pushed.err
    assert printed(app).count("ok ") == 3


def test_capabilities_needed_according_to_the_log_are_noted(ground: Ground) -> None:
    """The program is downloaded by the image's build, so the commit does not show what it does."""
    code = 'import os\\ntry: getattr(os, "ch" + "root")("/")\\nexcept OSError as e: print("chroot", e, flush=True)\\n'
    made = f"RUN printf '{code}' >/x.py\n"
    app = ground.app("hidden", tree("hidden", '["sh", "-c", "python /x.py; exec python serve.py"]', "", made))
    pushed = app.push()
    assert pushed.ok, pushed.err
    assert "web: seems to need capabilities" in pushed.err
    assert "`chroot [Errno 1] Operation not permitted" in pushed.err
    assert "pushrod apps allow hidden SYS_CHROOT" in pushed.err


CAPPED = """\
RUN cp "$(readlink -f "$(command -v python)")" /usr/bin/capped && python -c "import os, struct; \\
    os.setxattr('/usr/bin/capped', 'security.capability', struct.pack('<5I', 0x2000001, 1 << BIT, 0, 0, 0))"
"""


@pytest.mark.parametrize(
    ("name", "bit", "capability", "user", "allow"),
    [("capraw", "13", "NET_RAW", "root", True), ("capbind", "10", "NET_BIND_SERVICE", "1000", False)],
)
def test_a_program_with_more_file_capabilities_than_its_container_is_explained(
    ground: Ground, name: str, bit: str, capability: str, user: str, allow: bool
) -> None:
    made = CAPPED.replace("BIT", bit)
    command = '["/usr/bin/capped", "serve.py"]'
    app = ground.app(name, tree(name, command, f", user: '{user}'", made))
    pushed = app.push()
    result = complaint(pushed)
    assert "operation not permitted" in pushed.err.lower()
    assert f"({capability})" in pushed.err or f"/usr/bin/capped: {capability}" in pushed.err
    assert "its file has capabilities that the container lacks" in result.to_do
    if allow:
        ground.pushrod("apps", "allow", name, capability)
    app.tree.commit(tree(name, command, f", user: '{user}', cap_add: [{capability}]", made), "asks")
    pushed = app.push()
    assert pushed.ok, pushed.err


FILES = """\
x-pushrod: {domains: [files.localhost]}
services:
  web:
    build: .
    user: "1000"
    ports: ["8000:8000"]
    command: [sh, -c, "/start.sh; exec python serve.py"]
    configs:
      - {source: text, target: /start.sh, mode: 0755}
      - {source: file, target: /file, mode: 0440, uid: "1000", gid: "7"}
    secrets: [{source: value, mode: 0400, uid: "1000"}, {source: value, target: closed, mode: 0000}]
  db:
    image: redis:7
    secrets: [{source: value, mode: 0600, gid: "999"}]
configs:
  text: {content: "#!/bin/sh\\necho started by a config\\n"}
  file: {file: ./serve.py}
secrets:
  value: {environment: VALUE}
"""
RIGHTS = {
    "/start.sh": "755 0 0",
    "/file": "440 1000 7",
    "/run/secrets/value": "400 1000 0",
    "/run/secrets/closed": "0 0 0",
}


def test_configs_and_secrets_have_the_given_owner_and_mode(ground: Ground) -> None:
    app = ground.app("files", tree("files", "[]") | {"compose.yaml": FILES})
    ground.box.ssh("apps", "create", "files", user="pushrod")
    ground.box.ssh("secret", "set", "VALUE", "--app", "files", user="pushrod", stdin="hush")
    pushed = app.push()
    assert pushed.ok, pushed.err
    output = ground.box.docker(
        "exec", "--user=0", app.container("web", 1), "stat", "--format=%n %a %u %g", *RIGHTS
    )
    assert dict(line.split(" ", 1) for line in output.splitlines()) == RIGHTS
    store = ground.box.docker("exec", app.container("db"), "stat", "--format=%a %u %g", "/run/secrets/value")
    assert store == "600 0 999"
    assert "started by a config" in printed(app)
