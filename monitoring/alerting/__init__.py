"""Who is told what of which incident, and when: pure functions of values."""
