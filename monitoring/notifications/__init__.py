"""Who is notified of which incident, and when; how messages leave the outbox."""
