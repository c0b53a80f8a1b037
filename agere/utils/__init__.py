"""Tools around the core: LLM streams and tool calls. Each works on its own in any asyncio program."""
