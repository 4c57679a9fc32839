"""What all tests share: none of them asserts a time, not even hypothesis' own of one example."""

from hypothesis import settings

settings.register_profile("hookd", deadline=None)
settings.load_profile("hookd")
