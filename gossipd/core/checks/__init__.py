"""Health checks of this node's own instances: when each is tried, what its results mean, and what flaps."""
