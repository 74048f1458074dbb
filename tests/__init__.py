"""Mirrors gossipd/. wire, crypto, core and node are tested without trio; suites/ holds one contract per interface."""
