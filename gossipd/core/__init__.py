"""Floor 2: the protocol's machines. Messages and time in, effects out; no bytes, no keys, no clock."""
