"""Settings of all tests: no time limits of hypothesis, and default signals for each program."""

from hypothesis import settings

from tests.support.processes import heed_signals_in_children

settings.register_profile("hookd", deadline=None)
settings.load_profile("hookd")
heed_signals_in_children()
