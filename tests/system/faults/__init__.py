"""What store_faults is made of."""
