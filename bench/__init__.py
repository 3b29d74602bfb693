"""What pushrod costs, compared with the same work without it: `python -m bench`, `make bench`."""
