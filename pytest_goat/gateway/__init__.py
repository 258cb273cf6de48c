"""The gateway: the OpenAI-compatible endpoint that the agent calls, and what it saw of each trial."""
