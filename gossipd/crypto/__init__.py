"""Floor 1: who may read and write packets. Keys and nonces come in; nothing here draws randomness."""
