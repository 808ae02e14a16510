"""What integration tests stand on: real servers, a history written into their databases, a Slack to post to."""
