"""The page of `pushrod web`: what the apps of a root do, and buttons for what a key may do.

It reads the root's files. Everything else, logs included, goes through `calls`: verbs of the command line, with the
rights of the member who asks (`access`, `roles`). `guard` decides about each request before a page sees it, `facts`
reads, `pages` answers, `render` fills the templates, `server` listens.
"""
