"""One check against reality: the same steps on real daemons and in simulated worlds, and whether the times agree."""
