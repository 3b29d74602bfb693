"""An ACME server in a box."""

import json

from devtools.lab.box import Box

SETTINGS = {
    "listenAddress": "127.0.0.1:14000",
    "managementListenAddress": "127.0.0.1:15000",
    "certificate": "/opt/pebble/chain.pem",
    "privateKey": "/opt/pebble/key.pem",
    "httpPort": 80,
    "tlsPort": 443,
}
MADE = """\
import pathlib
from pushrod.adapters import openssl
authority = openssl.authority("pebble's own")
own = openssl.issue(authority, ["localhost"])
for name, text in {"trust": authority.chain, "chain": own.chain, "key": own.key}.items():
    pathlib.Path(f"/opt/pebble/{name}.pem").write_text(text)
"""
DIRECTORY, TRUST = "https://localhost:14000/dir", "/opt/pebble/trust.pem"
DROP_IN = f"""\
[Service]
Environment=PUSHROD_ACME_SERVER={DIRECTORY} REQUESTS_CA_BUNDLE={TRUST}
"""


def run(box: Box) -> None:
    """Run pebble in the box, with a name server that resolves every name to the box."""
    box.exec("apt-get", "update")  # not done yet: the box has everything that `host init` installs
    box.exec("apt-get", "install", "-qy", "--no-install-recommends", "pebble")
    box.exec("mkdir", "-p", "/opt/pebble")
    box.exec("/opt/pushrod/bin/python", "-c", MADE)
    box.put("/opt/pebble/pebble.json", json.dumps({"pebble": SETTINGS}))
    closed = ("-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", "", "-dns01", "127.0.0.1:8053")
    box.exec("systemd-run", "--unit=pebble-names", "pebble-challtestsrv", *closed)
    quick = ("--setenv=PEBBLE_VA_NOSLEEP=1", "--setenv=PEBBLE_WFE_NONCEREJECT=0")
    argv = ("pebble", "-config", "/opt/pebble/pebble.json", "-dnsserver", "127.0.0.1:8053")
    box.exec("systemd-run", "--unit=pebble", *quick, *argv)
