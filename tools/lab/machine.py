"""What an image is given of this machine, so that pip and apt work in it as they do beside it."""

import ast
import os
import shutil
import sys
from functools import cache
from pathlib import Path

from tools.lab.effects import run

CERTIFICATES = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
PIP_SETTINGS = ("index-url", "extra-index-url", "proxy", "trusted-host", "timeout", "default-timeout")
APT_SETTINGS = ("Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries ")


def fill(context: Path) -> None:
    """Put certificates and settings into a build context."""
    shutil.copy(CERTIFICATES, context / "ca-certificates.crt")
    (context / "pip.conf").write_text(pip_settings())
    (context / "apt.conf").write_text(apt_settings())


def state() -> str:
    """All that `fill` puts there, to see whether it has changed."""
    return pip_settings() + apt_settings() + CERTIFICATES.read_text()


@cache
def pip_settings() -> str:
    """This machine's pip settings, as a pip.conf: from its files and, stronger, from its environment."""
    lines = run([sys.executable, "-m", "pip", "config", "list"]).splitlines()
    found = {"cert": "/etc/ssl/certs/ca-certificates.crt"}
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in ("global", ":env:") and name in PIP_SETTINGS and "file:" not in value:
            found[name] = str(ast.literal_eval(value)).replace("\n", " ")
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in found.items())


@cache
def apt_settings() -> str:
    """This machine's apt settings for fetching: proxies and what they need."""
    if not shutil.which("apt-config"):
        return ""
    lines = run(["apt-config", "dump", "Acquire"]).splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith(APT_SETTINGS))
