"""Floor 4: the local door. One protocol over a Unix socket, in two encodings."""
