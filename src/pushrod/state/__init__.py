"""What is on disk of a root and its apps."""
