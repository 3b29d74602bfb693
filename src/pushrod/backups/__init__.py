"""Backups of an app's stores."""
