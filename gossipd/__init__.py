"""gossipd: service discovery by gossip, without servers.

A datagram's life: `shell.udp` -> `node.inbound` (open the seal, decode, route) -> a machine in `core` -> effects ->
`node.outbound` (add gossip, seal) -> actions -> `shell.driver`. Deadlines and local commands enter at `node` and leave the
same way.

floor 0  errors ids limits records config ...  values, caps, shared rules
floor 1  wire crypto                           messages as bytes; who may read them
floor 2  core                                  machines: messages and time in, effects out
floor 3  node                                  composition: bytes, time and commands in, actions out
floor 4  shell api client balancing            trio, sockets, disk; the local door; whom an application calls
floor 5  daemon demo cli                       joins it all

A module imports its own package and lower floors, never upward; nothing below floor 4 knows trio, a socket or a clock.
"""

__version__ = "0.1.0"
