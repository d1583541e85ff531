"""Fixtures that every test may ask for."""

from hypothesis import settings

pytest_plugins = ["tests.support.stack"]

settings.register_profile("shared-machine", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("shared-machine")
