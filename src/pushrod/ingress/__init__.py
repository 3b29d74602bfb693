"""The edge in front of an app: host names, certificates, access control, static files, the request log."""
