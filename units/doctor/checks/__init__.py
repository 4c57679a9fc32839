"""Checks of `hookd doctor`, one module per subject."""
