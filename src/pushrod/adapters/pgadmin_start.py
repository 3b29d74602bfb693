"""Starts pgAdmin in its own environment, for one person and one database.

Run as a program with one JSON object on standard input: `directory` (its files), `port`, `host` (the only name it
answers to), `key` (what a browser must show), `password` (the role's) and `server` (pgAdmin's description of the
database). So no secret is in its arguments, its environment or a file: libpq reads the password from memory.
Standard library, and pgAdmin.
"""

import contextlib
import json
import os
import sys
import sysconfig
import types
from pathlib import Path


def main() -> None:
    """Serve on loopback until the process is ended."""
    given = json.load(sys.stdin)
    home = Path(given["directory"])
    os.chdir(home)
    os.environ |= {"PGADMIN_INT_PORT": str(given["port"]), "PGADMIN_INT_KEY": given["key"]}
    os.environ["PGADMIN_SERVER_MODE"] = "OFF"  # one user, who has the key
    settings = types.ModuleType("config_local")
    vars(settings).update(configuration(home, given["host"]))
    sys.modules["config_local"] = settings
    sys.path.insert(0, str(Path(sysconfig.get_path("purelib"), "pgadmin4")))
    import pgAdmin4  # type: ignore[import-not-found]
    from pgadmin.utils import load_database_servers  # type: ignore[import-not-found]

    server = {**given["server"], "ConnectionParameters": {"connect_timeout": 20, "sslmode": "disable"}}
    server["ConnectionParameters"]["passfile"] = password_file(given["password"])
    servers = home / "servers.json"
    servers.write_text(json.dumps({"Servers": {"1": server}}))
    with pgAdmin4.app.test_request_context(), contextlib.redirect_stdout(sys.stderr):
        done, problem = load_database_servers(str(servers), None, pgAdmin4.config.DESKTOP_USER, True)
    if not done:
        sys.exit(f"pgAdmin does not take the database: {problem}")
    pgAdmin4.main()


def configuration(home: Path, host: str) -> dict[str, object]:
    """pgAdmin's settings: all of its files in one directory, nothing sent to the Internet."""
    return {
        "DATA_DIR": str(home),
        "LOG_FILE": str(home / "pgadmin.log"),
        "SQLITE_PATH": str(home / "pgadmin.db"),
        "SESSION_DB_PATH": str(home / "sessions"),
        "STORAGE_DIR": str(home / "storage"),
        "AZURE_CREDENTIAL_CACHE_DIR": str(home / "azure"),
        "KERBEROS_CCACHE_DIR": str(home / "kerberos"),
        "DEFAULT_SERVER": "127.0.0.1",
        "ALLOWED_HOSTS": [host],
        "MASTER_PASSWORD_REQUIRED": False,
        "USE_OS_SECRET_STORAGE": False,
        "UPGRADE_CHECK_ENABLED": False,
        "AUTO_DISCOVER_SERVERS": False,
        "LLM_ENABLED": False,
        "ENABLE_PSQL": False,
    }


def password_file(password: str) -> str:
    """The path of a password file (libpq, 34.16) that is in this process's memory alone."""
    number = os.memfd_create("pgpass")
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    os.write(number, f"*:*:*:*:{escaped}\n".encode())
    os.fchmod(number, 0o600)
    return f"/proc/self/fd/{number}"


if __name__ == "__main__":
    main()
