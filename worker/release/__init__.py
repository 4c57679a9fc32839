"""A release on disk: git mirror, environment, shared files, ownership and links."""
