"""Floor 5: `gossipd demo`, a small real cluster on this machine that shows what it promises, with measured times.

cluster.py   real daemons as child processes, in a temporary directory that goes with them
screen.py    a live table on a terminal, plain lines otherwise
story.py     the steps, each with its promise and its deadline
"""

from gossipd.demo.story import run_demo

__all__ = ["run_demo"]
