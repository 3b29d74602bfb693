"""The app under load on a Docker host in a box, with its own certificate for one of its two names."""

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from devtools.lab.ground import ROOT, Ground, a_quiet_host
from devtools.load import Load
from devtools.no_drop import Instance, Steady, load
from pushrod.adapters import openssl

PLAIN, SECURE = "plain.test", "steady.test"
DOCKERFILE = """\
FROM python:3.13-slim
WORKDIR /app
COPY app.py .
RUN mkdir /data && chown nobody /data
USER nobody
CMD ["python", "app.py"]
"""
EDGE = f"{ROOT}/edge"


class OnAServer(Steady):
    """On the docker engine."""

    def __init__(self, ground: Ground) -> None:
        self.box = ground.box
        self._authority = openssl.authority("tests of pushrod")
        self._trust = ground.directory / "trust.pem"
        self._trust.write_text(self._authority.chain)
        self._shop = ground.app("steady", self.files())
        self.tree = self._shop.tree
        done = self.tree.push()
        assert done.ok, done.err
        self.good = self.tree.head()
        self.renew()
        assert self.get() == "one"

    def files(self, version: str = "one", deadline: str = "15s", **environment: str) -> dict[str, str]:
        return {**super().files(version, deadline, **environment), "Dockerfile": DOCKERFILE}

    def manifest(self, deadline: str, **environment: str) -> str:
        there = {"LISTEN": "0.0.0.0", "PORT": "8000", "ROWS": "/data/rows", "PYTHONUNBUFFERED": "1"}
        web = {
            "build": ".",
            "ports": ["8000:8000"],
            "volumes": ["rows:/data"],
            "stop_grace_period": "10s",
            "environment": {**there, **environment},
            "x-pushrod": {"health": {"path": "/healthz", "deadline": deadline}},
        }
        own = {"domains": [SECURE, PLAIN], "keep": 3, "tls": {"source": "files"}}
        whole = {"services": {"web": web}, "volumes": {"rows": {}}, "x-pushrod": own}
        return yaml.safe_dump(whole, sort_keys=False)

    def ask(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.box.address, timeout=15)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": PLAIN, "Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def load(self, rate: float, **options: Any) -> Load:
        return load(f"http://{PLAIN}", rate, tls=(SECURE, 443, self._trust), at=self.box.address, **options)

    def must(self, *verb: str) -> object:
        done = self._shop.ssh(*verb)
        assert done.status == 0, done.stderr
        return done

    @property
    def live(self) -> int:
        return self._shop.live

    def renew(self) -> object:
        pair = openssl.issue(self._authority, [SECURE])
        argv = ("cert", "set", "--certificate", "-", "--app", "steady")
        return self.box.ssh(*argv, user="pushrod", stdin=pair.chain + pair.key)

    def hang_up(self) -> None:
        self.box.exec("kill", "-HUP", self.box.get(f"{EDGE}/run/nginx.pid").decode().strip())

    def end(self, instance: Instance) -> None:
        """Kill it by its process id in the box: Docker does not restart what it kills itself."""
        form = "{{.State.Pid}}{{range .NetworkSettings.Networks}} {{.IPAddress}}{{end}}"
        running = self.box.docker("ps", "--quiet", "--filter=label=pushrod.app=steady").split()
        lines = self.box.docker("inspect", f"--format={form}", *running).splitlines()
        address = instance.address.rpartition(":")[0]
        (pid,) = [line.split()[0] for line in lines if address in line.split()[1:]]
        self.box.exec("kill", "-KILL", pid)

    def log(self) -> str:
        return self.box.exec("sh", "-c", f"cat {EDGE}/logs/access.log*").stdout  # rotated ones too


@contextlib.contextmanager
def a_server(directory: Path) -> Iterator[OnAServer]:
    """A new server with the app on it."""
    with a_quiet_host(directory) as ground:
        yield OnAServer(ground)
