"""What pushrod costs, measured against what the same work costs without it: `python -m bench`, `make bench`."""
