"""Anti-entropy: what two nodes hold is compared by digest, and only the difference is sent."""
