"""What all tests share: no time is asserted, not even hypothesis' own, and each program heeds signals."""

from hypothesis import settings

from tests.support.processes import heed_signals_in_children

settings.register_profile("hookd", deadline=None)
settings.load_profile("hookd")
heed_signals_in_children()
