"""Floor 4: sockets, clock and disk, on trio."""
