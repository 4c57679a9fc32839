"""Pure renderers: units, sudoers, nginx sites and Redis files as text."""
