"""Checks of the doctor, one subject in each module."""
