"""Building what a commit runs without Docker: Python environments, and projects of Java and Node.js."""
