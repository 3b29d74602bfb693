"""supervisord, with the plugin that lies beside this file in reach: `python -P daemon.py -c CONF`.

It runs as a copy below the root (see `supervisor_files`), where `wakeup.py` belongs to no package. What it is
imported by has no other way: supervisord takes plugins from Python's own path alone.
"""

import sys
from pathlib import Path


def main() -> None:
    """Be supervisord; its arguments are ours."""
    sys.path.insert(0, str(Path(__file__).parent))
    from supervisor import supervisord  # type: ignore[import-untyped, unused-ignore]

    supervisord.main()


if __name__ == "__main__":
    main()
