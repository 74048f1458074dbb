"""How news is spread: what is waiting, to whom it goes next, and how often."""
