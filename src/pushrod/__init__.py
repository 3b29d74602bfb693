"""pushrod: `git push` takes a commit to production on one server."""

__version__ = "0.1.0"
