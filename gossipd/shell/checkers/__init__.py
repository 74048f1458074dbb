"""Those who go and try what a check names: `runner.Checkers` owns them, each kind has its module. What decides lies in `core`."""
