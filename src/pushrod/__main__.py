"""`python -m pushrod`, which is how Git's hooks call it."""

from pushrod.cli import main

main()
