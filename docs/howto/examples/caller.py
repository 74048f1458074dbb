"""Greets each name that it reads, by whichever instance of web is best at that moment: printf 'ann\nbob\n' | python caller.py"""

import sys

import httpx

from gossipd.client.transport import GossipTransport


def main() -> None:
    with httpx.Client(transport=GossipTransport()) as client:
        for line in sys.stdin:
            answer = client.get(f"http://web.gossip/hello/{line.strip()}").raise_for_status()
            print(answer.json(), flush=True)


if __name__ == "__main__":
    main()
