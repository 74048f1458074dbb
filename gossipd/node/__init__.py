"""Floor 3: the composition. Bytes, time and commands in; actions out. The daemon and the simulator drive the same `Node`."""
