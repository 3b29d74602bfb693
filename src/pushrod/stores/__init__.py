"""The kinds of stores, and what differs between them."""
