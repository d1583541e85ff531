"""Fixtures that every test may ask for, and what all tests run under."""

import signal

from hypothesis import settings

pytest_plugins = ["tests.support.leftovers", "tests.support.tiers", "tests.support.stack", "tests.support.buckets"]

settings.register_profile("shared-machine", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("shared-machine")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a shell; processes of tests would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
