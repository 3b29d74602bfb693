"""What stands in front of an app."""
