"""`python -m gossipd` is the same as `gossipd`."""

from gossipd.cli.main import main

main()
