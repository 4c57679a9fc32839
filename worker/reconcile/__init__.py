"""Reconciliation: compares branch head, journal and services, and requests a deployment where they differ."""
