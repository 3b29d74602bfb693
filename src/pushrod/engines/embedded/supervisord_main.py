"""supervisord, with the plugin in this file's directory on its path: `python -P daemon.py -c CONF`.

It runs as a copy below the root (see `supervisor_files`), where `wakeup.py` is in no package, and supervisord finds
plugins only on Python's path.
"""

import configparser
import contextlib
import os
import stat
import sys
from pathlib import Path


def main() -> None:
    """Run supervisord with our arguments; refuse if another account has taken the directory of its socket."""
    if "-c" in sys.argv[1:-1]:
        conf = configparser.RawConfigParser(strict=False)
        conf.read(sys.argv[sys.argv.index("-c") + 1])
        socket = conf.get("unix_http_server", "file", fallback="/nowhere/socket")
        directory = Path(socket.replace("%%", "%")).parent
        if is_taken(directory):
            sys.exit(
                f"{directory} belongs to another account, which could read what passes there: "
                "run `pushrod up`, which chooses another place"
            )
    sys.path.insert(0, str(Path(__file__).parent))
    from supervisor import supervisord  # type: ignore[import-untyped, unused-ignore]

    supervisord.main()


def is_taken(directory: Path) -> bool:
    """Whether another account owns a directory, or may write in it: one in /tmp has a name that can be guessed."""
    with contextlib.suppress(FileNotFoundError):
        status = directory.lstat()
        ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
        return not ours or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    return False


if __name__ == "__main__":
    main()
