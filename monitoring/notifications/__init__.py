"""Who is notified of which incident, and when; how the outbox is sent."""
