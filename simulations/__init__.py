"""The simulation lab: the daemon's own Node on a virtual clock and an invented network, replayed from a seed.

world.py      virtual clock, event heap, hosts; the one who calls the nodes      network.py   links, cuts, loss, distance
host.py       one machine: clock, buffer, disk, processor                        streams.py   a reliable ordered stream
beliefs.py    who believes what of whom, kept from events                        inside.py    all that reaches into a Node
faults.py     what goes wrong, as values                                         steps.py     stories: steps as sentences
checkers.py   invariants, apart from stories                                     scenarios/   one story a file
"""
