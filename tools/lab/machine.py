"""This machine's settings for use in images, so that pip and apt work in them as they do on the machine."""

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
    """Everything that `fill` puts there, to detect changes."""
    return pip_settings() + apt_settings() + CERTIFICATES.read_text()


@cache
def pip_settings() -> str:
    """This machine's pip settings as a pip.conf: from its files, overridden by its environment."""
    lines = run([sys.executable, "-m", "pip", "config", "list"]).splitlines()
    settings = {"cert": "/etc/ssl/certs/ca-certificates.crt"}
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in ("global", ":env:") and name in PIP_SETTINGS and "file:" not in value:
            settings[name] = str(ast.literal_eval(value)).replace("\n", " ")
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())


@cache
def apt_settings() -> str:
    """This machine's apt settings for downloads: proxies and what they need."""
    if not shutil.which("apt-config"):
        return ""
    lines = run(["apt-config", "dump", "Acquire"]).splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith(APT_SETTINGS))
