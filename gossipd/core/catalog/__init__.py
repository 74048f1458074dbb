"""What services run where: records by owner, tombstones, quotas, queries."""
