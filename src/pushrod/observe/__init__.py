"""What is going on, and what is wrong."""
