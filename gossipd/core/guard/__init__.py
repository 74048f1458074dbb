"""What readers are told when nodes fall silent: cuts are shown whole, and no service collapses for discovery's own sake."""
