"""supervisord, with the plugin in this file's directory on its path: `python -P daemon.py -c CONF`.

It runs as a copy below the root (see `supervisor_files`), where `wakeup.py` is in no package, and supervisord finds
plugins only on Python's path.
"""

import sys
from pathlib import Path


def main() -> None:
    """Run supervisord with our arguments."""
    sys.path.insert(0, str(Path(__file__).parent))
    from supervisor import supervisord  # type: ignore[import-untyped, unused-ignore]

    supervisord.main()


if __name__ == "__main__":
    main()
