"""What people and CI read: pure functions from records to text."""
