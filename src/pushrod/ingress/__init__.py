"""The edge in front of an app: names, certificates, access, files, the request log."""
