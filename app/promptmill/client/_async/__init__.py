"""Client for asyncio."""
