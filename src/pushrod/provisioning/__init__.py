"""Makes a server a Docker host of pushrod, keeps it one, and lets developers' keys reach it."""
