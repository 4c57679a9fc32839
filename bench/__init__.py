"""Measurements: each script prints what it measured beside its peer, in one run on one machine."""
