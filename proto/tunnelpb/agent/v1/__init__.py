"""Version 1 of the agent's APIs, package ``tunnelpb.agent.v1``."""
