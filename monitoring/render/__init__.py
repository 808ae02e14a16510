"""From a report to what people and programs read: pure renderings of one value, so that they never disagree."""
