"""What holds for every test."""

from hypothesis import settings

settings.register_profile(
    "gossipd", deadline=None
)  # speed is measured by the benchmark, never asserted: machines are busy
settings.load_profile("gossipd")
