"""The files of a root and its apps."""
