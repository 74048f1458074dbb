"""Floor 1: messages as values, and as bytes."""
