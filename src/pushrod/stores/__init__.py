"""What differs by the kind of a store."""
