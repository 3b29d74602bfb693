"""A server that becomes a Docker host of pushrod, stays one, and is reached by its developers' keys."""
