"""A release as plain Kubernetes objects, for `pushrod export kubernetes`: rendered from values, without a cluster."""
