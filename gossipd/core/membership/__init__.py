"""Who is in the cluster: claims and their order, probes, suspicion, refutation, own health."""
